//! One JSON object a line on stderr, for the node's log collector.

use serde_json::{Map, Value};
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

/// Something happened as it should.
pub(crate) fn info(message: &str, fields: &[(&str, &str)]) {
    event("info", message, fields);
}

/// Something that the administrator should look at.
pub(crate) fn warn(message: &str, fields: &[(&str, &str)]) {
    event("warning", message, fields);
}

/// A pod or the plugin does not work.
pub(crate) fn error(message: &str, fields: &[(&str, &str)]) {
    event("error", message, fields);
}

/// Logging never fails the work: what cannot be written is lost.
fn event(level: &str, message: &str, fields: &[(&str, &str)]) {
    let mut line = render(SystemTime::now(), level, message, fields);
    line.push('\n');
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// `ts` is in seconds since 1970, as in the kubelet's JSON logs.
fn render(now: SystemTime, level: &str, message: &str, fields: &[(&str, &str)]) -> String {
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_millis() as f64 / 1000.0);
    let mut object = Map::new();
    object.insert("ts".into(), seconds.into());
    object.insert("level".into(), level.into());
    object.insert("msg".into(), message.into());
    for (name, value) in fields {
        object.insert((*name).into(), (*value).into());
    }
    Value::Object(object).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn hostile_text_stays_in_its_line() {
        let at = UNIX_EPOCH + Duration::from_millis(1_500);
        let line = render(at, "error", "pod not prepared", &[("pod", "a/b\n{\"level\":\"info\"}")]);
        assert_eq!(line.lines().count(), 1);
        let read: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["ts"], 1.5);
        assert_eq!(read["pod"], "a/b\n{\"level\":\"info\"}");
    }
}
