//! What is read, profile and policy: the schema takes what the parser takes, and knows the same keys.

use crate::root;
use crate::schema::{Schema, toml_as_json};
use oci_ipc_hook::ipc::{Kind, SemField, Sysctl};
use oci_ipc_hook::policy::Config;
use oci_ipc_hook::request::Profile;
use oci_ipc_hook::request::profile::administrators;
use std::collections::BTreeSet;

fn parse_profile(text: &str) -> Result<(), String> {
    Profile::parse_toml("p", text, &administrators("p")).map(drop).map_err(|e| e.to_string())
}

fn parse_config(text: &str) -> Result<(), String> {
    Config::parse("c", text, 4096).map(drop).map_err(|e| e.to_string())
}

#[test]
fn shipped_profiles_are_valid() {
    let schema = Schema::load("profile");
    let mut seen = 0;
    for entry in std::fs::read_dir(root().join("examples/profiles")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        schema.must_take(&path.display().to_string(), &toml_as_json(&text));
        seen += 1;
    }
    assert!(seen >= 20, "{seen}");
}

/// The keys of a table that the parser knows, as it lists them itself when it meets one that it does not.
fn known_keys(said: Result<(), String>) -> BTreeSet<String> {
    let said = said.unwrap_err();
    let (_, list) = said.split_once("known here: ").unwrap_or_else(|| panic!("{said}"));
    list.split(", ").map(str::to_owned).collect()
}

fn schema_keys(schema: &Schema, pointer: &str) -> BTreeSet<String> {
    let table = schema.json.pointer(pointer).and_then(|t| t["properties"].as_object());
    table.unwrap_or_else(|| panic!("{pointer}")).keys().cloned().collect()
}

/// Far from every key, so that the parser lists them all.
const STRANGER: &str = "'zzzzzzzzzzzzzzzzzzzzzzzz'";

#[test]
fn profile_and_schema_know_the_same_keys() {
    let schema = Schema::load("profile");
    let top = known_keys(parse_profile(&format!("format = 1\n{STRANGER} = 1\n")));
    assert_eq!(schema_keys(&schema, ""), top);
    for kind in Kind::ALL {
        let known = known_keys(parse_profile(&format!("format = 1\n[[{}]]\n{STRANGER} = 1\n", kind.name())));
        assert_eq!(schema_keys(&schema, &format!("/$defs/{}", kind.name())), known);
    }
    for (kind, what) in [("shm", "size = 1"), ("sem", "nsems = 1"), ("msg", "")] {
        let text = format!("format = 1\n[[{kind}]]\n{what}\nkey = {{ {STRANGER} = 1 }}\n");
        let pointer = format!("/$defs/{kind}/properties/key/anyOf/2");
        assert_eq!(schema_keys(&schema, &pointer), known_keys(parse_profile(&text)), "{kind}");
    }
    let known = known_keys(parse_profile(&format!("format = 1\n[sysctl]\n{STRANGER} = 1\n")));
    assert_eq!(schema_keys(&schema, "/properties/sysctl"), known);
    let known = known_keys(parse_profile(&format!("format = 1\n[sysctl]\n'kernel.sem' = {{ {STRANGER} = 1 }}\n")));
    assert_eq!(schema_keys(&schema, "/properties/sysctl/properties/kernel.sem/anyOf/1"), known);
}

#[test]
fn policy_and_schema_know_the_same_keys() {
    let schema = Schema::load("config");
    for (header, pointer) in [
        ("", ""),
        ("[policy]", "/properties/policy"),
        ("[policy.ceiling]", "/properties/policy/properties/ceiling"),
        ("[charge]", "/properties/charge"),
        ("[record]", "/properties/record"),
    ] {
        let known = known_keys(parse_config(&format!("format = 1\n{header}\n{STRANGER} = 1\n")));
        assert_eq!(schema_keys(&schema, pointer), known, "{header}");
    }
}

/// Right and wrong values, of all kinds that occur anywhere.
#[rustfmt::skip]
const VALUES: &[&str] = &[
    "0", "1", "-1", "7", "128", "200", "32767", "32768", "32769", "65536", "65537", "16777216", "2147483647", "2147483648",
    "0x10", "true", "1.5", "[]", "[1]", "[1, 0, 5]", "{}", "''", "'0'", "'1'", "'01'", "'+1'", "' 1'", "'1 '", "'0x10'",
    "'0x0'", "'0xg'", "'-5'", "'5KiB'", "'5 MiB'", "'200B'", "'5kb'", "'50%'", "'50 %'", "'0%'", "'1001%'", "'1000%'",
    "'3 per GiB'", "'3per GiB'", "'0 per GiB'", "'unlimited'", "'denied'", "'>= 200'", "'>=200'", "'<= 200'", "'> 200'",
    "'>= 5KiB'", "'<= 50%'", "'>= 2 per GiB'", "'>= unlimited'", "'1 2 3 4'", "'>= 1 2 3 4'", "\"1\\t2  3 4 \"", "'1 2 3'",
    "'1 2 3 4 5'", "'0600'", "'600'", "'1777'", "'06000'", "'9'", "'0:0'", "'1001:0'", "'1001'", "'root:root'", "'/q'",
    "'/q/r'", "'q'", "'/'", "'/.'", "'/..'", "'keep'", "'fail'", "'replace'", "'remove'", "'none'", "'profiles'", "'inline'",
    "'warn'", "'needed'", "'always'", "['a', 'b*']", "{ semmsl = 5 }", "{ semmni = '>= 5 per GiB' }", "{ semmni = '5KiB' }",
    "{ semmsl = '50%' }", "{ ftok = '/f', id = 65 }", "{ ftok = '/f', id = '65' }", "{ ftok = '/f', id = 0 }",
    "{ ftok = '/f', id = 256 }", "{ ftok = 'f', id = 1 }", "{ ftok = '/f' }", "{ id = 1 }", "{ ftok = '/f', id = 1, x = 1 }",
];

/// Schema and parser agree on each of `VALUES` for `key`; returns how many they take and refuse.
fn agree(schema: &Schema, parse: fn(&str) -> Result<(), String>, before: &str, key: &str) -> (usize, usize) {
    let (mut taken, mut refused) = (0, 0);
    for value in VALUES {
        let text = format!("{before}'{key}' = {value}\n");
        let parsed = parse(&text);
        let valid = schema.takes(&toml_as_json(&text));
        // In TOML 0x10 is the number 16; which of the two was written is lost to a schema, and a number within a string
        // cannot be compared.
        let beyond = *value == "0x10" || parsed.as_ref().is_err_and(|e| e.contains("out of range"));
        assert!(valid == parsed.is_ok() || (valid && beyond), "{text}schema: {valid}, parser: {parsed:?}");
        if valid { taken += 1 } else { refused += 1 }
    }
    (taken, refused)
}

#[test]
fn profile_and_schema_take_the_same_values() {
    let schema = Schema::load("profile");
    for sysctl in Sysctl::ALL {
        let (taken, refused) = agree(&schema, parse_profile, "format = 1\n[sysctl]\n", sysctl.name());
        assert!(taken >= 2 && refused >= 20, "{sysctl}: {taken}, {refused}");
    }
    for field in SemField::ALL {
        for value in ["0", "'>= 7'", "'3 per GiB'", "'50%'", "'5KiB'", "-1", "true"] {
            let text = format!("format = 1\n[sysctl]\n'kernel.sem' = {{ {} = {value} }}\n", field.name());
            assert_eq!(schema.takes(&toml_as_json(&text)), parse_profile(&text).is_ok(), "{text}");
        }
    }
    for (before, keys) in [
        ("[[shm]]\nsize = 1\n", &["key"][..]),
        ("[[shm]]\nkey = 1\n", &["size"]),
        ("[[sem]]\nkey = 1\n", &["nsems", "values"]),
        ("[[msg]]\nkey = 1\n", &["max-bytes", "mode", "owner", "if-exists", "on-stop"]),
        ("[[mqueue]]\n", &["name"]),
        ("[[mqueue]]\nname = '/a'\n", &["max-messages", "message-size"]),
    ] {
        for key in keys {
            let (taken, refused) = agree(&schema, parse_profile, &format!("format = 1\n{before}"), key);
            assert!(taken >= 1 && refused >= 20, "{key}: {taken}, {refused}");
        }
    }
}

#[test]
fn profile_and_schema_require_the_same_keys() {
    let schema = Schema::load("profile");
    for text in [
        "",
        "format = 2",
        "format = 1\n[[shm]]\nkey = 1",
        "format = 1\n[[shm]]\nsize = 1",
        "format = 1\n[[sem]]\nkey = 1",
        "format = 1\n[[sem]]\nkey = 1\nnsems = 1\nvalues = [1]",
        "format = 1\n[[msg]]\nmode = '0600'",
        "format = 1\n[[mqueue]]\nmode = '0600'",
        "format = 1\nshm = 1",
        "format = 1\nsysctl = []",
        "format = 1\ndescription = 1",
    ] {
        assert!(parse_profile(text).is_err(), "{text}");
        assert!(!schema.takes(&toml_as_json(text)), "{text}");
    }
}

#[test]
fn policy_and_schema_take_the_same_values() {
    let schema = Schema::load("config");
    schema.must_take("the shortest policy", &toml_as_json("format = 1\n"));
    for sysctl in Sysctl::ALL {
        let (taken, refused) = agree(&schema, parse_config, "format = 1\n[policy.ceiling]\n", sysctl.name());
        assert!(taken >= 2 && refused >= 20, "{sysctl}: {taken}, {refused}");
    }
    for (header, keys) in [
        ("policy", &["annotations", "allowed-profiles", "on-error", "lower-in-shared"][..]),
        ("policy.ceiling", &["objects", "shm-bytes", "kernel-memory"]),
        ("charge", &["container-cgroup-above"]),
        ("record", &["when"]),
    ] {
        for key in keys {
            let (taken, refused) = agree(&schema, parse_config, &format!("format = 1\n[{header}]\n"), key);
            assert!(taken >= 1 && refused >= 20, "{key}: {taken}, {refused}");
        }
    }
    assert!(!schema.takes(&toml_as_json("")) && parse_config("").is_err());
}

/// The examples of the manual pages, whole documents each.
#[test]
fn documents_of_the_manual_are_valid() {
    for (page, name) in [("oci-ipc-hook-profile.5", "profile"), ("oci-ipc-hook.toml.5", "config")] {
        let schema = Schema::load(name);
        let text = std::fs::read_to_string(root().join("docs/man").join(page)).unwrap().replace("\\-", "-");
        let mut seen = 0;
        for block in text.split(".nf\n").skip(1) {
            let block = block.split(".fi\n").next().unwrap();
            if block.starts_with("format = 1") {
                schema.must_take(page, &toml_as_json(block));
                seen += 1;
            }
        }
        assert!(seen >= 1, "{page}");
    }
}
