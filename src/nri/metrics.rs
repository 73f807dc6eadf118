//! Counters and latencies, as Prometheus text on a loopback port.

use crate::log;
use crate::plugin::Plugin;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Upper bounds of the latency buckets, in milliseconds.
const BUCKETS: [u64; 10] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];
/// A request of a client that is slower or longer is dropped.
const PATIENCE: Duration = Duration::from_secs(2);
const REQUEST: usize = 4096;

/// Since the plugin started.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) prepared: AtomicU64,
    pub(crate) failed: AtomicU64,
    /// CreateContainer calls answered with a pod's failure.
    pub(crate) refused: AtomicU64,
    /// Preparations in CreateContainer: the pod's start was missed.
    pub(crate) late: AtomicU64,
    /// Annotated pods with containers that were there before the plugin.
    pub(crate) found: AtomicU64,
    pub(crate) registrations: AtomicU64,
    pub(crate) connected: AtomicBool,
    buckets: [AtomicU64; BUCKETS.len()],
    runs: AtomicU64,
    microseconds: AtomicU64,
}

impl Metrics {
    /// One run of the hook.
    pub(crate) fn took(&self, duration: Duration) {
        for (bound, bucket) in BUCKETS.iter().zip(&self.buckets) {
            if duration <= Duration::from_millis(*bound) {
                bucket.fetch_add(1, Relaxed);
            }
        }
        self.runs.fetch_add(1, Relaxed);
        self.microseconds.fetch_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// The Prometheus text format, version 0.0.4.
    pub(crate) fn render(&self, (known, failed): (usize, usize)) -> String {
        let mut out = String::with_capacity(2048);
        let of = |counter: &AtomicU64| counter.load(Relaxed);
        head(&mut out, "preparations_total", "counter", "Pods handed to the hook, by result.");
        line(&mut out, "preparations_total{result=\"prepared\"}", of(&self.prepared));
        line(&mut out, "preparations_total{result=\"failed\"}", of(&self.failed));
        for (name, kind, help, value) in [
            ("late_preparations_total", "counter", "Pods prepared at a container's creation.", of(&self.late)),
            ("containers_refused_total", "counter", "Containers refused because of their pod.", of(&self.refused)),
            ("pods_found_total", "counter", "Annotated pods that ran before the plugin.", of(&self.found)),
            ("registrations_total", "counter", "Registrations with the runtime.", of(&self.registrations)),
            ("connected", "gauge", "1 while registered.", u64::from(self.connected.load(Relaxed))),
            ("pods", "gauge", "Annotated pods remembered.", known as u64),
            ("failed_pods", "gauge", "Annotated pods that failed and are still there.", failed as u64),
            ("resident_memory_bytes", "gauge", "Resident memory of the plugin.", resident()),
        ] {
            head(&mut out, name, kind, help);
            line(&mut out, name, value);
        }
        self.render_latency(&mut out);
        out
    }

    fn render_latency(&self, out: &mut String) {
        head(out, "preparation_seconds", "histogram", "Time that the hook took.");
        for (bound, bucket) in BUCKETS.iter().zip(&self.buckets) {
            let name = format!("preparation_seconds_bucket{{le=\"{}\"}}", *bound as f64 / 1000.0);
            line(out, &name, bucket.load(Relaxed));
        }
        let runs = self.runs.load(Relaxed);
        line(out, "preparation_seconds_bucket{le=\"+Inf\"}", runs);
        let seconds = self.microseconds.load(Relaxed) as f64 / 1e6;
        let _ = writeln!(out, "oci_ipc_nri_preparation_seconds_sum {seconds}");
        line(out, "preparation_seconds_count", runs);
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP oci_ipc_nri_{name} {help}\n# TYPE oci_ipc_nri_{name} {kind}");
}

fn line(out: &mut String, name: &str, value: u64) {
    let _ = writeln!(out, "oci_ipc_nri_{name} {value}");
}

/// Resident bytes, 0 where they cannot be read.
fn resident() -> u64 {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return 0 };
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Serves `GET /metrics` for ever. A port that cannot be had is logged: the pods matter more.
pub(crate) async fn serve(address: SocketAddr, plugin: Arc<Plugin>) {
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) => {
            return log::warn("no metrics", &[("address", &address.to_string()), ("error", &error.to_string())]);
        }
    };
    let bound = listener.local_addr().unwrap_or(address).to_string();
    log::info("metrics", &[("address", &bound)]);
    loop {
        match listener.accept().await {
            Ok((client, _)) => drop(timeout(PATIENCE, answer(client, &plugin)).await),
            Err(_) => tokio::time::sleep(PATIENCE).await,
        }
    }
}

async fn answer(mut client: TcpStream, plugin: &Plugin) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if request.len() >= REQUEST || client.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let (status, body) = if request.starts_with(b"GET /metrics ") {
        ("200 OK", plugin.metrics.render(plugin.pods.count()))
    } else {
        ("404 Not Found", "GET /metrics\n".to_owned())
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    client.write_all((head + &body).as_bytes()).await?;
    client.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative() {
        let metrics = Metrics::default();
        metrics.took(Duration::from_micros(1_500));
        metrics.took(Duration::from_secs(3));
        metrics.prepared.fetch_add(1, Relaxed);
        let text = metrics.render((7, 1));
        for wanted in [
            "oci_ipc_nri_preparation_seconds_bucket{le=\"0.001\"} 0\n",
            "oci_ipc_nri_preparation_seconds_bucket{le=\"0.002\"} 1\n",
            "oci_ipc_nri_preparation_seconds_bucket{le=\"1\"} 1\n",
            "oci_ipc_nri_preparation_seconds_bucket{le=\"+Inf\"} 2\n",
            "oci_ipc_nri_preparation_seconds_sum 3.0015\n",
            "oci_ipc_nri_preparations_total{result=\"prepared\"} 1\n",
            "oci_ipc_nri_pods 7\n",
            "oci_ipc_nri_failed_pods 1\n",
        ] {
            assert!(text.contains(wanted), "{wanted} in\n{text}");
        }
    }

    #[test]
    fn every_name_has_help_and_type() {
        let text = Metrics::default().render((0, 0));
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            let family = name.trim_end_matches("_bucket").trim_end_matches("_sum").trim_end_matches("_count");
            assert!(text.contains(&format!("# TYPE {family} ")), "{line}");
            assert!(text.contains(&format!("# HELP {family} ")), "{line}");
        }
    }
}
