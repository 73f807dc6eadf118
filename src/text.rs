//! Text that may come from strangers, made safe to print.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Escapes what could forge or hide part of a one-line message: control bytes (C0, DEL, C1), line and paragraph
/// separators, marks of text direction, and characters that cannot be seen. Borrowed when there is nothing to escape.
///
/// ```
/// assert_eq!(oci_ipc_hook::text::escape("a\nb\u{1b}[1m"), "a\\nb\\x1b[1m");
/// assert_eq!(oci_ipc_hook::text::escape("/größe"), "/größe");
/// ```
pub fn escape(text: &str) -> Cow<'_, str> {
    // Mostly it is plain ASCII, which is told at a glance.
    if text.bytes().all(|b| matches!(b, b' '..=b'~')) || !text.chars().any(is_hostile) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if is_hostile(c) && (c as u32) < 0x100 => drop(write!(out, "\\x{:02x}", c as u32)),
            c if is_hostile(c) => drop(write!(out, "\\u{{{:x}}}", c as u32)),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// JSON whose strings hold nothing that [`escape`] would escape: a terminal shows it as it is. The data stay the same.
///
/// ```
/// assert_eq!(oci_ipc_hook::text::escape_json("\"a\u{9b}\u{e0041}ö\"".into()), "\"a\\u009b\\udb40\\udc41ö\"");
/// ```
pub fn escape_json(json: String) -> String {
    // The rest of ASCII is escaped in strings already, and newlines between them stay.
    let hostile = |c: char| c == '\x7f' || !c.is_ascii() && is_hostile(c);
    if json.bytes().all(|b| b < 0x7f) || !json.chars().any(hostile) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        match hostile(c) {
            true => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            false => out.push(c),
        }
    }
    out
}

/// Control characters and those that format but are not seen (Unicode's general categories Cc, Zl, Zp and most of Cf).
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// At most `max` characters of `text`, with an ellipsis when some were left off.
pub fn shorten(text: &str, max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(max) {
        None => Cow::Borrowed(text),
        Some((at, _)) => Cow::Owned(format!("{}…", &text[..at])),
    }
}

/// The candidate nearest to `word`, if it is near enough to be what was meant.
///
/// ```
/// assert_eq!(oci_ipc_hook::text::nearest("kernel.shmal", ["kernel.shmall", "kernel.sem"]), Some("kernel.shmall"));
/// assert_eq!(oci_ipc_hook::text::nearest("net.ipv4", ["kernel.shmall"]), None);
/// ```
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let word = shorten(word, 64);
    candidates
        .into_iter()
        .map(|c| (distance(&word, c), c))
        .filter(|(d, c)| *d <= c.len().max(3) / 3)
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}

/// Levenshtein distance over bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replace = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_every_control_and_override() {
        assert_eq!(escape("\0\x7f\u{9b}\u{202e}\u{2028}"), "\\x00\\x7f\\x9b\\u{202e}\\u{2028}");
        assert_eq!(escape("\u{61c}\u{200b}\u{feff}\u{ad}"), "\\u{61c}\\u{200b}\\u{feff}\\xad");
        assert!(matches!(escape("plain /q-1"), Cow::Borrowed(_)));
    }

    #[test]
    fn nearest_needs_nearness() {
        assert_eq!(nearest("sysctls", ["sysctl", "shm", "sem"]), Some("sysctl"));
        assert_eq!(nearest("owner_uid", ["key", "mode"]), None);
    }

    #[test]
    fn shorten_counts_characters() {
        assert_eq!(shorten("äöü", 2), "äö…");
        assert_eq!(shorten("äöü", 3), "äöü");
    }
}
