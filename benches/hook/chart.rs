//! The chart: plain SVG, no crate.

use crate::cases::Who;
use crate::{Results, bars};
use std::fmt::Write as _;

const WIDTH: f64 = 860.0;
/// Where bars begin: left of it stand their names.
const LEFT: f64 = 400.0;
const LINE: f64 = 22.0;

/// A position on an axis of powers of ten.
fn on_log_axis(value: f64, from: f64, to: f64) -> f64 {
    (value.max(from) / from).ln() / (to / from).ln() * (WIDTH - LEFT - 90.0)
}

struct Drawing {
    body: String,
    y: f64,
}

impl Drawing {
    fn heading(&mut self, text: &str) {
        self.y += LINE * 1.5;
        let _ = writeln!(self.body, r#"<text x="12" y="{:.0}" class="h">{text}</text>"#, self.y);
        self.y += LINE * 0.6;
    }

    fn bar(&mut self, name: &str, length: f64, class: &str, label: &str) {
        let middle = self.y + LINE * 0.7;
        let _ = writeln!(
            self.body,
            r#"<text x="{:.0}" y="{middle:.0}" class="n">{name}</text><rect x="{LEFT}" y="{:.0}" width="{length:.1}" height="{:.0}" class="{class}"/><text x="{:.1}" y="{middle:.0}">{label}</text>"#,
            LEFT - 8.0,
            self.y + 2.0,
            LINE - 5.0,
            LEFT + length + 6.0,
        );
        self.y += LINE;
    }
}

fn class(who: Who) -> &'static str {
    if who == Who::Ours { "us" } else { "them" }
}

fn milliseconds(us: f64) -> String {
    if us < 1000.0 { format!("{us:.0} µs") } else { format!("{:.2} ms", us / 1e3) }
}

/// The standard run and the objects as bars on a logarithmic axis, and each figure as a share of its bar.
pub(crate) fn draw(results: &Results) -> String {
    let mut drawing = Drawing { body: String::new(), y: 0.0 };
    drawing.heading("13 sysctls + 4 objects: the whole process, median (logarithmic)");
    if let Some(standard) = results.named("13 sysctls + 4 objects") {
        for &who in &standard.who {
            let us = standard.median_us(who).unwrap_or_default();
            drawing.bar(&who.to_string(), on_log_axis(us, 100.0, 100_000.0), class(who), &milliseconds(us));
        }
    }
    drawing.heading("objects, parsing included, median (logarithmic)");
    for count in ["10", "100", "1000", "10000"] {
        let Some(outcome) = results.named(&format!("{count} objects")) else { continue };
        for &who in outcome.who.iter().filter(|&&who| who != Who::Go) {
            let us = outcome.median_us(who).unwrap_or_default();
            let name = format!("{count} objects, {who}");
            drawing.bar(&name, on_log_axis(us, 100.0, 100_000.0), class(who), &milliseconds(us));
        }
    }
    drawing.heading("figures to reach: share of what is allowed");
    let top = drawing.y;
    let full = 260.0;
    for bar in bars::all(results) {
        let Some(share) = bar.share else { continue };
        let class = if bar.met == Some(true) { "us" } else { "over" };
        let label = format!("{} (bar {})", bar.found, bar.wanted);
        drawing.bar(&bar.what, (share * full).min(WIDTH - LEFT - 190.0), class, &label);
    }
    let x = LEFT + full;
    let _ = writeln!(drawing.body, r#"<line x1="{x}" x2="{x}" y1="{top:.0}" y2="{:.0}" class="mark"/>"#, drawing.y);
    frame(&drawing)
}

fn frame(drawing: &Drawing) -> String {
    let height = drawing.y + LINE;
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0}" width="{WIDTH}" height="{height:.0}" role="img" aria-label="benchmarks">
<style>
text {{ font: 13px sans-serif; fill: #222 }}
.h {{ font-weight: bold }}
.n {{ text-anchor: end }}
.us {{ fill: #2a7ab8 }}
.them {{ fill: #b8b8b8 }}
.over {{ fill: #d1603d }}
.mark {{ stroke: #222; stroke-dasharray: 3 3 }}
</style>
<rect width="100%" height="100%" fill="white"/>
{}</svg>
"#,
        drawing.body
    )
}
