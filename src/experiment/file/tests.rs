//! What a right file means. Wrong ones are in tests/bad.

use super::*;
use crate::experiment::{Company, Formula, Goal, Levels, Stopping};
use crate::units::{Bytes, Percent};
use proptest::prelude::*;

const SMALLEST: &str = r#"
    [factor]
    tunable = "guest.disk.scheduler"
    levels = "available"
    [workload]
    use = "fio-randread-4k"
"#;

fn read(text: &str) -> Result<Experiment, Diagnostics> {
    let source = Source {
        name: "some/where/small.toml".into(),
        text: text.into(),
    };
    parse(&source, &Library::builtin())
}

#[test]
fn everything_else_has_a_default() {
    let found = read(SMALLEST).unwrap();
    assert_eq!(found.name, "small");
    let lab = Guest::Lab {
        vcpus: 2,
        memory: Bytes::mib(512),
        disk: Bytes::mib(256),
        ssh: false,
        company: Company::default(),
    };
    assert_eq!(found.guest, lab);
    assert_eq!(found.responses[0].metric.to_string(), "fio-randread-4k.iops");
    assert_eq!(found.responses[0].goal, Goal::Maximize);
    assert_eq!(found.design.blocks, 20);
    assert_eq!(found.design.stopping, Stopping::Looks { min: 8, max: 20 });
    assert_eq!(found.design.confirm, Some(12));
    assert_eq!(found.design.kind, DesignKind::FullFactorial);
    assert!(matches!(found.factors[0].levels, Levels::Available(_)));
    assert_eq!((found.seed, found.time_budget), (None, None));
}

#[test]
fn what_is_written_counts() {
    let text = format!(
        r#"
        name = "web"
        seed = 42
        guest = {{ domain = "web", scratch = "/var/tmp/kvmtune.dat" }}
        {SMALLEST}
        time = "20s"
        warmup = "3s"
        [response]
        metric = "clat_p99_us"
        [[guard]]
        metric = "fio-randread-4k.iops"
        margin = "2%"
        [[guard]]
        metric = "bw"
        [design]
        kind = "one-at-a-time"
        blocks = 12
        [budget]
        time = "1h30m"
        "#
    );
    let found = read(&text).unwrap();
    assert_eq!(found.name, "web");
    assert_eq!(found.seed, Some(42));
    let Guest::Domain { name, connect, .. } = &found.guest else {
        panic!("{:?}", found.guest)
    };
    assert_eq!((name.as_str(), connect.as_str()), ("web", "qemu:///system"));
    assert_eq!(found.workloads[0].time, Span::secs(20));
    assert_eq!(found.workloads[0].warmup, Span::secs(3));
    assert_eq!(found.responses[0].goal, Goal::Minimize);
    assert_eq!(found.guards[0].margin, Percent(2.0));
    assert_eq!(found.guards[1].margin, Percent(5.0));
    assert_eq!(found.guards[1].goal, Goal::Maximize);
    assert_eq!(found.design.kind, DesignKind::OneAtATime);
    assert_eq!(
        (found.design.stopping, found.design.blocks),
        (Stopping::Fixed, 12)
    );
    assert_eq!(found.time_budget, Some(Span::secs(5400)));
}

#[test]
fn a_workload_without_a_warm_up_is_given_none() {
    let text = |warmup: &str| {
        let text = SMALLEST.replace("fio-randread-4k", "hackbench");
        format!("{text}\nwarmup = \"{warmup}\"\n[response]\nmetric = \"seconds\"\n")
    };
    assert_eq!(read(&text("0s")).unwrap().workloads[0].warmup, Span::secs(0));
    let error = read(&text("3s")).unwrap_err().render(false);
    assert!(
        error.contains("`hackbench` has no warm-up") && error.contains("warmup = \"3s\""),
        "{error}"
    );
}

#[test]
fn blocks_tell_how_often_to_look() {
    let design = |text: &str| read(&format!("{SMALLEST}\n[design]\n{text}")).unwrap().design;
    let looks = |min, max| Stopping::Looks { min, max };
    for (text, stopping, blocks) in [
        ("", looks(8, 20), 20),
        ("blocks = { min = 6, max = 30 }", looks(6, 30), 30),
        ("blocks = { min = 9, max = 9 }", looks(9, 9), 9),
        ("blocks = 12", Stopping::Fixed, 12),
        ("blocks = 12\nstopping = \"looks\"", looks(8, 12), 12),
        ("blocks = 5\nstopping = \"looks\"", looks(5, 5), 5),
        ("stopping = \"fixed\"", Stopping::Fixed, 20),
        ("stopping = \"anytime\"", Stopping::Anytime, 20),
        (
            "blocks = { min = 6, max = 30 }\nstopping = \"fixed\"",
            Stopping::Fixed,
            30,
        ),
    ] {
        let found = design(text);
        assert_eq!((found.stopping, found.blocks), (stopping, blocks), "{text}");
    }
    for (text, confirm) in [
        ("true", Some(12)),
        ("false", None),
        ("12", Some(12)),
        ("30", Some(30)),
    ] {
        assert_eq!(design(&format!("confirm = {text}")).confirm, confirm, "{text}");
    }
}

#[test]
fn several_responses_and_derived_metrics() {
    let text = format!(
        r#"{SMALLEST}
        [[derived]]
        name = "speed"
        unit = "1/us"
        goal = "maximize"
        ratio = ["iops", "fio-randread-4k.clat_mean_us"]
        [[derived]]
        name = "all"
        unit = ""
        goal = "minimize"
        sum = ["clat_mean_us", "clat_p99_us"]
        [[response]]
        metric = "speed"
        [[response]]
        metric = "clat_p99_us"
        goal = "minimize"
        [[guard]]
        metric = "derived.all"
        "#
    );
    let found = read(&text).unwrap();
    let names: Vec<_> = found.responses.iter().map(|r| r.metric.to_string()).collect();
    assert_eq!(names, ["derived.speed", "fio-randread-4k.clat_p99_us"]);
    assert_eq!(found.responses[0].goal, Goal::Maximize);
    let Formula::Ratio(over, under) = &found.derived[0].formula else {
        panic!("{:?}", found.derived)
    };
    assert_eq!(
        (over.metric.as_str(), under.metric.as_str()),
        ("iops", "clat_mean_us")
    );
    assert_eq!(
        (found.guards[0].metric.to_string().as_str(), found.guards[0].goal),
        ("derived.all", Goal::Minimize)
    );
    let value = |m: &crate::experiment::MetricId| (m.metric != "clat_p99_us").then_some(2.0);
    assert_eq!(found.derived[0].formula.value(value), Some(1.0));
    assert_eq!(found.derived[1].formula.value(value), None, "a part is missing");
    assert_eq!(
        found.derived[0].formula.value(|_| Some(0.0)),
        None,
        "0 by 0 is nothing"
    );
}

const LISTED: &str = r#"
    [workload]
    use = "fio-randread-4k"
    [design]
    kind = "explicit"
    [[treatment]]
    name = "now"
    set = { "domain.disk.io" = "threads", "guest.swappiness" = 60 }
    [[treatment]]
    set = { "domain.disk.io" = "native" }
    [[treatment]]
    name = "calm"
    set = { "guest.swappiness" = "10" }
"#;

#[test]
fn listed_treatments_make_their_factors() {
    let found = read(LISTED).unwrap();
    let factors: Vec<_> = found.factors.iter().map(|f| f.tunable.name.as_str()).collect();
    assert_eq!(factors, ["domain.disk.io", "guest.swappiness"]);
    let names: Vec<_> = found.treatments.iter().map(|t| t.name.as_deref()).collect();
    assert_eq!(names, [Some("now"), None, Some("calm")]);
    let Levels::Listed(levels) = &found.factors[1].levels else {
        panic!()
    };
    assert_eq!(levels.len(), 2);
    assert_eq!(found.treatments[2].levels.len(), 1);
    assert!(found.source.text[found.treatments[1].span.clone()].contains("treatment"));

    let pair = LISTED.replace("explicit", "a-b");
    let (pair, _) = pair.rsplit_once("[[treatment]]").unwrap();
    let found = read(pair).unwrap();
    assert_eq!((found.design.kind, found.treatments.len()), (DesignKind::AB, 2));
}

#[test]
fn an_a_b_design_needs_no_list() {
    let two = SMALLEST.replace("\"available\"", "[\"none\", \"bfq\"]\nbaseline = \"none\"");
    let design = "\n[design]\nkind = \"a-b\"\n";
    assert!(read(&format!("{two}{design}")).unwrap().treatments.is_empty());
    let other = SMALLEST.replace("\"available\"", "[\"bfq\"]");
    read(&format!("{other}{design}")).unwrap();
    read(&format!("{SMALLEST}{design}")).unwrap_err();
    let found = read(&format!("{SMALLEST}\n[design]\nkind = \"one-factor\"\n")).unwrap();
    assert_eq!(found.design.kind, DesignKind::OneFactor);
}

#[test]
fn spans_mark_what_was_written() {
    let found = read(&SMALLEST.replace("\"available\"", "[\"none\", \"bfq\"]")).unwrap();
    let Levels::Listed(levels) = &found.factors[0].levels else {
        panic!()
    };
    let marked = &found.source.text[levels[1].span.clone()];
    assert_eq!(marked, "\"bfq\"");
    assert!(found.source.text[found.factors[0].span.clone()].contains("factor"));
}

#[test]
fn files_that_are_no_text_are_refused_before_parsing() {
    for (bytes, say) in [
        (vec![b'#'; (1 << 20) + 1], "at most 1048576"),
        (b"a = 1\nb = \"\xff\"".to_vec(), "line 2"),
        (b"a = \0".to_vec(), "NUL"),
    ] {
        let text = Source::from_bytes("x.toml", &bytes).unwrap_err().to_string();
        assert!(text.contains(say), "{text}");
    }
    let source = Source {
        name: "x".into(),
        text: "# \0".into(),
    };
    assert!(parse(&source, &Library::builtin()).is_err());
}

#[test]
fn hostile_shapes_end_in_an_error() {
    for text in [
        format!("x = {}", "[".repeat(100_000)),
        format!("x = {}1{}", "[".repeat(5000), "]".repeat(5000)),
        format!("{} = 1", vec!["a"; 5000].join(".")),
        "[[factor]]\n".repeat(20_000),
        "x = 1\n".repeat(20_000),
        format!("{SMALLEST}\nseed = 99999999999999999999999999"),
    ] {
        let rendered = read(&text).unwrap_err().to_string();
        assert!(rendered.len() < 200_000, "{} bytes of message", rendered.len());
    }
}

#[test]
fn a_file_of_mistakes_is_cut() {
    let text: String = (0..500).fold(SMALLEST.to_string(), |text, i| format!("{text}\nkey{i} = 1"));
    let found = read(&text).unwrap_err();
    assert_eq!(found.list().len(), 41);
    assert!(found.to_string().contains("460 more mistakes"));
}

proptest! {
    #[test]
    fn any_text_is_answered(text in "\\PC{0,200}") {
        let _ = read(&text).map_err(|e| e.to_string());
    }

    #[test]
    fn any_damage_is_answered(at in 0usize..160, junk in "[\\[\\]\"'{}=.#\\n\\\\a0 ]{0,4}", cut in 0usize..20) {
        let mut text = SMALLEST.to_string();
        let at = at.min(text.len());
        let end = (at + cut).min(text.len());
        text.replace_range(at..end, &junk);
        let _ = read(&text).map_err(|e| e.to_string());
    }

    #[test]
    fn any_value_of_any_key_is_answered(
        key in "(name|question|guest|factor|workload|response|derived|treatment|guard|design|budget|seed)",
        sub in "(kind|use|time|metric|goal|tunable|levels|baseline|blocks|stopping|confirm|set|ratio|sum|unit|domain|scratch|margin)",
        value in "(1|-1|1e400|nan|true|\"\"|\"5\"|\"%\"|\"\u{1F600}\"|\\[\\]|\\[\\[\\]\\]|\\{\\}|1979-05-27)",
    ) {
        let _ = read(&format!("{key} = {value}")).map_err(|e| e.to_string());
        let _ = read(&format!("[[{key}]]\n{sub} = {value}")).map_err(|e| e.to_string());
    }
}

#[test]
fn ssh_is_the_transport_of_a_guest_that_has_a_server() {
    let server = r#"ssh = { host = "10.0.0.5", identity = "/k/id", known-hosts = "/k/known" }"#;
    let found = |guest: &str| {
        let scratch = "scratch = \"/tmp/x\"";
        let text = if guest.contains("domain") {
            format!("guest = {{ {guest}, {scratch} }}\n{SMALLEST}")
        } else {
            format!("guest = {{ {guest} }}\n{SMALLEST}")
        };
        read(&text).unwrap().guest
    };
    let Guest::Domain {
        ssh: Some(target), ..
    } = found(&format!("domain = \"web\", {server}"))
    else {
        panic!("no ssh")
    };
    assert_eq!(target.to_string(), "root@10.0.0.5 port 22");
    assert_eq!(
        (target.identity.as_str(), target.known_hosts.as_str()),
        ("/k/id", "/k/known")
    );
    let stated = found(&format!("domain = \"web\", transport = \"ssh\", {server}"));
    assert_eq!(stated, found(&format!("domain = \"web\", {server}")));
    let agent = found("domain = \"web\", transport = \"agent\"");
    assert!(matches!(agent, Guest::Domain { ssh: None, .. }));
    assert!(matches!(
        found("transport = \"ssh\""),
        Guest::Lab { ssh: true, .. }
    ));
    assert!(matches!(found("kind = \"lab\""), Guest::Lab { ssh: false, .. }));
}
