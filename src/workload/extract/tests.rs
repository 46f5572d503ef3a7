//! Each way to cut a number out, on texts that are right, wrong and hostile.

use super::*;

fn one(spot: Spot) -> Extract {
    Extract {
        name: "x".into(),
        spot,
        scale: 1.0,
        absent: None,
    }
}

fn get(spot: Spot, output: &str) -> Result<f64, String> {
    let found = read(&[one(spot)], output.as_bytes()).map_err(|e| e.to_string())?;
    Ok(found[0].1)
}

fn pointer(text: &str, output: &str) -> Result<f64, String> {
    get(Spot::Pointer(text.into()), output)
}

fn column(text: &str, output: &str) -> Result<f64, String> {
    get(Spot::Column(text.into()), output)
}

fn pattern(text: &str, output: &str) -> Result<f64, String> {
    get(Spot::Match(text.into()), output)
}

/// The examples of RFC 6901, section 5, whose values are numbers.
#[test]
fn pointers_are_those_of_the_standard() {
    let document = r#"{"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, "k\"l": 6,
        " ": 7, "m~n": 8}"#;
    for (text, value) in [
        ("/", 0.0),
        ("/a~1b", 1.0),
        ("/c%d", 2.0),
        ("/e^f", 3.0),
        ("/g|h", 4.0),
        ("/i\\j", 5.0),
        ("/k\"l", 6.0),
        ("/ ", 7.0),
        ("/m~0n", 8.0),
    ] {
        assert_eq!(pointer(text, document), Ok(value), "{text}");
    }
    assert_eq!(tokens("/~01"), Some(vec!["~1".to_string()]));
    for bad in ["", "foo", "/a~", "/a~2b"] {
        assert_eq!(tokens(bad), None, "{bad}");
    }
}

#[test]
fn pointers_lead_into_arrays_and_find_nothing_where_nothing_is() {
    let document = r#"{"a": [1, {"b": 2.5}, [3]], "0": {"1": 4}, "s": "5", "n": null, "t": true}"#;
    assert_eq!(pointer("/a/1/b", document), Ok(2.5));
    assert_eq!(pointer("/a/2/0", document), Ok(3.0));
    assert_eq!(pointer("/0/1", document), Ok(4.0));
    for nowhere in [
        "/a/3", "/a/-", "/a/00", "/a/+1", "/a/01", "/b", "/s/x", "/t/0", "/n/0", "/a/0/b",
    ] {
        let error = pointer(nowhere, document).unwrap_err();
        assert!(error.contains("nothing at /"), "{nowhere}: {error}");
    }
    for no_number in ["/s", "/n", "/t", "/a"] {
        let error = pointer(no_number, document).unwrap_err();
        assert!(error.contains("cannot read the output as JSON"), "{error}");
    }
    for bad in [
        "",
        "{\"a\": 1",
        "{\"a\": 1} 2",
        "{\"a\": 1, \"a\": 2}",
        "{\"a\": 1e999}",
        "{\"a\": NaN}",
    ] {
        assert!(pointer("/a", bad).is_err(), "{bad}");
    }
}

#[test]
fn deep_and_long_json_is_walked() {
    let deep = "[".repeat(1 << 20);
    assert!(pointer("/a", &deep).is_err());
    let whole = format!(
        "{{\"deep\": {}1{}, \"a\": 2}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert_eq!(pointer("/a", &whole), Ok(2.0));
}

#[test]
fn the_last_line_of_csv_counts() {
    let csv = "\"test\", rps ,\"p99\"\r\n\"SET\",\"1.5\",\"0.2\"\n\n\"GET\", 2.5 ,\"130us\"\n";
    assert_eq!(column("rps", csv), Ok(2.5));
    assert_eq!(column("p99", csv), Ok(130.0));
    for (name, bad, say) in [
        ("max", csv, "no column max"),
        ("test", csv, "neither a number"),
        ("a", "", "no CSV"),
        ("a", "a\n", "no CSV"),
        ("a", "a\n12", "no CSV"),
        ("a", "a,b\n1\n", "2 columns in its header and 1"),
        ("a", "a,a\n1,2\n", "twice"),
    ] {
        let error = column(name, bad).unwrap_err();
        assert!(error.contains(say), "{bad:?}: {error}");
    }
    let wide = format!("{}\n1\n", "a,".repeat(1 << 16));
    assert!(column("a", &wide).unwrap_err().contains("65536 bytes"));
}

#[test]
fn the_last_line_that_matches_counts_and_in_it_the_first_match() {
    let text = "tps = 1\ntps = 20, tps = 30\nother = 4\n";
    assert_eq!(pattern("tps = ([0-9]+)", text), Ok(20.0));
    assert_eq!(pattern("^other = ([0-9]+)$", text), Ok(4.0));
    assert!(
        pattern("tps = ([a-z]+)", text)
            .unwrap_err()
            .contains("no line that is ended matches tps")
    );
    assert_eq!(pattern("tps = ([0-9]+)", "tps = 1\ntps = 2"), Ok(1.0));
    assert!(pattern("(other)", text).unwrap_err().contains("neither a number"));
    // The group took no part in the match.
    assert!(pattern("other|([0-9])x", text).is_err());
}

#[test]
fn times_become_microseconds_and_nothing_else_is_guessed() {
    for (text, micros) in [
        ("1500ns", 1.5),
        ("59.00us", 59.0),
        ("3µs", 3.0),
        ("2.40ms", 2400.0),
        ("1.5s", 1.5e6),
        ("2 m", 1.2e8),
        ("1h", 3.6e9),
        (" 7 ", 7.0),
        ("1e3", 1000.0),
    ] {
        let found = quantity(text).unwrap();
        assert!((found - micros).abs() <= 1e-9 * micros, "{text}: {found}");
    }
    for bad in ["", "us", "1,5", "5%", "1k", "0x10", "12MiB", "1.2.3"] {
        assert!(quantity(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_number_is_scaled_and_may_be_absent_where_that_is_said() {
    let mut extract = one(Spot::Match("errors: ([0-9]+)".into()));
    extract.scale = 1000.0;
    let found = |extract: &Extract, text: &str| read(std::slice::from_ref(extract), text.as_bytes());
    let is = |value: f64| Ok(vec![("x".to_string(), value)]);
    assert_eq!(found(&extract, "errors: 3\n"), is(3000.0));
    assert!(found(&extract, "fine\n").is_err());
    extract.absent = Some(0.0);
    assert_eq!(found(&extract, "fine\n"), is(0.0));
    assert_eq!(found(&extract, "errors: 3\n"), is(3000.0));
}

#[test]
fn a_hostile_text_costs_no_more_than_its_length() {
    // Quadratic, when all matches of the text are looked for.
    let text = "A".repeat(1 << 20) + "\n";
    assert!(pattern(".*[^A-Z]|([A-Z])", &text).is_err());
    let lines = "=\n".repeat(1 << 19);
    assert!(pattern("= ([0-9]+)", &lines).is_err());
    assert!(
        read(&[one(Spot::Match("x(.)".into()))], b"x\xff\n")
            .unwrap_err()
            .to_string()
            .contains("as text")
    );
}
