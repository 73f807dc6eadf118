use super::*;

fn show(value: &Value<'_>) -> String {
    match value {
        Value::Text(t) => format!("\"{t}\""),
        Value::Number(n) => n.to_string(),
        Value::Bool(b) => b.to_string(),
        Value::Other(o) => format!("<{o}>"),
        Value::Array(nodes) => {
            format!("[{}]", nodes.iter().map(|n| show(&n.value)).collect::<Vec<_>>().join(","))
        }
        Value::Table(t) => show_table(t),
    }
}

fn show_table(table: &Table<'_>) -> String {
    let inner: Vec<_> = table.iter().map(|(k, n)| format!("{}={}", k.name, show(&n.value))).collect();
    format!("{{{}}}", inner.join(","))
}

fn ok(text: &str) -> String {
    match parse(Place { document: "t" }, text) {
        Ok(table) => show_table(&table),
        Err(e) => panic!("{text}: {e}"),
    }
}

fn err(text: &str) -> String {
    match parse(Place { document: "t" }, text) {
        Ok(table) => panic!("{text}: read as {}", show_table(&table)),
        Err(e) => e.to_string(),
    }
}

#[test]
fn reads_tables_arrays_and_inline_tables() {
    assert_eq!(
        ok(
            "a = 1\n[b]\n\"c.d\" = \"x\\ty\" # note\n[[e]]\nf = [1, 0x10,\n 2]\n[[e]]\ng = { h = true, i.j = 'k', i.l = 1979-05-27 }\n"
        ),
        "{a=1,b={c.d=\"x\ty\"},e=[{f=[1,0x10,2]},{g={h=true,i={j=\"k\",l=<a date>}}}]}"
    );
}

#[test]
fn follows_the_rules_for_redefinition() {
    assert_eq!(ok("[a.b]\nx=1\n[a]\ny=2\n"), "{a={b={x=1},y=2}}");
    assert_eq!(ok("[a]\nb.c=1\nb.d=2\n[a.b.e]\nf=3\n"), "{a={b={c=1,d=2,e={f=3}}}}");
    assert_eq!(ok("[[a]]\n[[a.b]]\nx=1\n[[a.b]]\nx=2\n[[a]]\n[a.c]\n"), "{a=[{b=[{x=1},{x=2}]},{c={}}]}");
    for (text, at) in [
        ("a=1\na=2\n", "t:2:1: 'a' is defined twice"),
        ("[a]\n[a]\n", "t:2:2: 'a' is defined twice"),
        ("a.b=1\n[a]\n", "t:2:2: 'a' is defined twice"),
        ("[a]\nb.c=1\n[a.b]\n", "t:3:4: 'b' is defined twice"),
        ("a=[]\n[[a]]\n", "t:2:3: 'a' is defined twice"),
        ("[a]\n[[a]]\n", "t:2:3: 'a' is defined twice"),
        ("[[a]]\n[a]\n", "t:2:2: 'a' is defined twice"),
        ("a={x=1}\na.y=2\n", "t:2:1: 'a' is defined twice"),
        ("a={x=1}\n[a.y]\n", "t:2:2: 'a' is already a value"),
        ("a={x=1,x=2}\n", "t:1:8: 'x' is defined twice"),
        ("\"a\"=1\n'a'=2\n", "t:2:1: 'a' is defined twice"),
    ] {
        assert_eq!(err(text), at, "{text}");
    }
}

#[test]
fn names_line_and_column_of_bad_syntax() {
    assert!(err("a = 1\nb = \n").starts_with("t:2:"), "{}", err("a = 1\nb = \n"));
    assert!(err("a = \"x\n").starts_with("t:1:"));
    assert!(err("a = 1 b = 2\n").starts_with("t:1:"));
    assert!(err("a\n").starts_with("t:1:"));
}

#[test]
fn is_bounded() {
    assert!(err(&format!("a = {}", "[".repeat(10_000))).starts_with("t:1:"));
    let many: String = (0..200).map(|i| format!("k{i} = 1\n")).collect();
    assert_eq!(err(&many), "t:101:1: more than 100 keys in one table");
}

#[test]
fn a_long_document_is_read_as_a_whole() {
    let numbers: String = (0..2 * PIECE).map(|n| format!("  {n},\n  # ]\n")).collect();
    let tables: String = (0..PIECE).map(|n| format!("[[t]]\nk = {n}\n")).collect();
    let text = format!("[a]\nb = [\n{numbers}]\nc = {{ d = 1 }}\n{tables}[last]\nk = 'x'");
    let table = parse(Place { document: "f" }, &text).unwrap();
    let [(a, Node { value: Value::Table(inner), .. }), (t, Node { value: Value::Array(rows), .. }), (last, _)] =
        table.as_slice()
    else {
        panic!("{table:?}")
    };
    assert_eq!([&a.name, &t.name, &last.name], ["a", "t", "last"]);
    assert_eq!(inner.iter().map(|(k, _)| k.name.as_ref()).collect::<Vec<_>>(), ["b", "c"]);
    assert!(matches!(&inner[0].1.value, Value::Array(numbers) if numbers.len() == 2 * PIECE));
    assert_eq!(rows.len(), PIECE);
    assert_eq!(last.at, Position { line: (4 + 4 * PIECE + 2 * PIECE + 1) as u32, column: 2 });
    // Brackets that do not match, in the first piece, and a mistake far behind it.
    assert!(err(&format!("a = [1\n{tables}")).starts_with("t:2:1:"));
    let end = 2 * PIECE + 1;
    assert!(err(&format!("{tables}k 1\n")).starts_with(&format!("t:{end}:")), "{}", err(&format!("{tables}k 1\n")));
}
