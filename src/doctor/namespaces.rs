//! Limits of live namespaces that are used up.

use crate::containers;
use crate::finding::Finding;
use crate::inspect::all::{Format, groups};
use std::path::Path;

pub(super) fn findings(root: &Path) -> Vec<Finding> {
    let containers = containers::all(root);
    let (mut all, mut looked, mut refused) = (Vec::new(), 0, 0);
    for group in groups() {
        match group.show(&containers, Format::Advice) {
            Ok(text) => {
                looked += 1;
                all.extend(serde_json::from_slice::<Vec<Finding>>(&text).unwrap_or_default());
            }
            Err(_) => refused += 1,
        }
    }
    if all.is_empty() {
        all.push(Finding::ok("limits", format!("in none of {looked} namespaces is one nearly used up")));
    }
    if refused > 0 {
        all.push(Finding::unknown(
            "limits",
            format!("{refused} namespaces may not be looked at from here"),
            "run doctor as root",
        ));
    }
    all
}
