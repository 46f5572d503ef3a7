//! The house rules of ARCHITECTURE.md as a test, and a proof for each rule that it can fail.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "architecture/rules.rs"]
mod rules;
#[path = "architecture/syntax.rs"]
mod syntax;

use rules::{Source, violations};
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn the_project_keeps_its_rules() {
    // Read at run time, so that a built test can look at another tree.
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap());
    let mut sources = Vec::new();
    for folder in ["src", "guest", "tests", "benches"] {
        gather(&root, &root.join(folder), &mut sources);
    }
    assert!(
        sources.len() > 50,
        "only {} files found below {}",
        sources.len(),
        root.display()
    );
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let found = violations(&sources, &manifest);
    assert!(
        found.is_empty(),
        "{} rules are broken:\n{}",
        found.len(),
        found.join("\n")
    );
}

fn gather(root: &Path, folder: &Path, sources: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<_> = entries.map(|e| e.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            gather(root, &path, sources);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let name = path.strip_prefix(root).unwrap().display().to_string();
            sources.push(Source::new(&name, &fs::read_to_string(&path).unwrap()));
        }
    }
}

/// Everything the small project used below needs to be without fault.
const MANIFEST: &str = "[dependencies]\nclap='4'\ntokio='1'\nstatrs='0'\nserde='1'\ncsv='1'\nplotters='0'\n\
                        virt='0'\nnix='0'\nindicatif='0'\n[dev-dependencies]\ninsta='1'\n";

/// What a project with this one more file is told.
fn with(path: &str, text: &str) -> Vec<String> {
    project(&[(path, text)], MANIFEST)
}

fn project(more: &[(&str, &str)], manifest: &str) -> Vec<String> {
    let lib = "//! L.\npub mod analysis;\nmod cli;\npub mod design;\npub mod host;\npub mod report;\npub mod runner;\n\
               pub mod store;\n";
    let faultless = [
        ("src/lib.rs", lib),
        ("src/analysis/mod.rs", "//! A.\nuse statrs::distribution::Normal;"),
        (
            "src/cli/mod.rs",
            "//! C.\nuse clap::Parser; use tokio::signal; use crate::{host::Host, store::Store};",
        ),
        ("src/host/mod.rs", "//! H.\nuse nix::unistd; use std::fs;"),
        (
            "src/host/libvirt.rs",
            "//! V.\nuse virt::connect; fn f() { unsafe { virt::x() } }",
        ),
        (
            "src/report/mod.rs",
            "//! R.\nuse indicatif::ProgressBar; use plotters::prelude::*;",
        ),
        (
            "src/store/mod.rs",
            "//! S.\nuse csv::Writer; #[derive(serde::Serialize)] struct S;",
        ),
        ("tests/some.rs", "fn f() { insta::assert_snapshot!(x.unwrap()); }"),
    ];
    let replaced = |path: &str| more.iter().any(|(p, _)| *p == path);
    let kept = faultless.iter().filter(|(path, _)| !replaced(path));
    let sources: Vec<_> = kept
        .chain(more)
        .map(|(path, text)| Source::new(path, text))
        .collect();
    violations(&sources, manifest)
}

/// Asserts that exactly one thing is found, at this place, and that the message holds the words.
#[track_caller]
fn caught(path: &str, text: &str, place: &str, words: &str) {
    let found = with(path, text);
    assert!(
        found.len() == 1 && found[0].starts_with(place) && found[0].contains(words),
        "expected {place} … {words}, got {found:#?}"
    );
}

#[test]
fn a_faultless_project_passes() {
    assert_eq!(project(&[], MANIFEST), Vec::<String>::new());
}

#[test]
fn pure_modules_are_kept_pure() {
    let cases = [
        ("use crate::host::Host;", "module `host`"),
        (
            "use crate::{units::Bytes, store::{self, Store}};",
            "module `store`",
        ),
        ("fn f() { crate::lab::image::build() }", "module `lab`"),
        ("use super::session::Session;", "module `session`"),
        ("use std::fs;", "std::fs"),
        ("use std::{fmt, fs::File};", "std::fs"),
        ("fn f() { std::process::exit(1) }", "std::process"),
        ("use std::time::{Duration, Instant};", "Instant"),
        ("use std::time::SystemTime;", "SystemTime"),
        ("fn f() { jiff::Timestamp::now(); }", "Timestamp"),
        ("fn f() { g(&[Timestamp::now()]) }", "Timestamp"),
        ("use std::env;", "std::env"),
        ("fn f() { let x = vec![rand::rng()]; }", "rand::rng"),
        ("use rand::{SeedableRng, thread_rng};", "rand::thread_rng"),
    ];
    for (text, words) in cases {
        caught(
            "src/design/mod.rs",
            &format!("//! D.\n{text}"),
            "src/design/mod.rs:2",
            words,
        );
    }
    caught(
        "src/design/order.rs",
        "//! D.\nuse super::super::host::Host;",
        "src/design/order.rs:2",
        "module `host`",
    );
}

#[test]
fn what_pure_modules_may_do_is_not_caught() {
    let text = "//! D. use std::fs; crate::host\n\
                use crate::{units, workload::Workload}; use std::time::Duration; use rand::SeedableRng;\n\
                /// Like [`std::fs`].\nfn host() -> &'static str { \"use crate::host; x.unwrap() todo!()\" }\n\
                use super::order::host;\n\
                #[cfg(test)]\nmod tests { use std::fs; use crate::host::fake; fn f() { x.unwrap(); } }\n\
                #[cfg(test)]\nuse std::env;";
    assert_eq!(with("src/design/mod.rs", text), Vec::<String>::new());
}

#[test]
fn a_module_of_tests_is_a_test_and_another_one_is_not() {
    let tests = (
        "src/design/checks.rs",
        "//! T.\nuse std::fs; fn f() { x.unwrap() }",
    );
    let declared = (
        "src/design/mod.rs",
        "//! D.\n#[cfg(test)]\n#[allow(clippy::unwrap_used)]\nmod checks;",
    );
    assert_eq!(project(&[tests, declared], MANIFEST), Vec::<String>::new());
    let undeclared = ("src/design/mod.rs", "//! D.\nmod checks;");
    assert_eq!(project(&[tests, undeclared], MANIFEST).len(), 2);
}

#[test]
fn data_flows_one_way() {
    let cases = [
        (
            "src/report/text.rs",
            "use crate::runner::Task;",
            "`report` cannot use `runner`",
        ),
        (
            "src/report/text.rs",
            "use crate::host::Host;",
            "`report` cannot use `host`",
        ),
        (
            "src/report/text.rs",
            "use crate::store::Store;",
            "`report` cannot use `store`",
        ),
        (
            "src/runner/mod.rs",
            "use crate::report::Progress;",
            "`runner` cannot use `report`",
        ),
        (
            "src/runner/mod.rs",
            "use crate::store::Store;",
            "`runner` cannot use `store`",
        ),
        (
            "src/runner/mod.rs",
            "use super::cli;",
            "`runner` cannot use `cli`",
        ),
        (
            "src/store/find.rs",
            "use crate::report::text;",
            "`store` cannot use `report`",
        ),
        (
            "src/host/local.rs",
            "use crate::runner::run;",
            "`host` cannot use `runner`",
        ),
    ];
    for (path, text, words) in cases {
        caught(path, &format!("//! M.\n{text}"), &format!("{path}:2"), words);
    }
}

#[test]
fn crates_and_unsafe_stay_in_their_folder() {
    let packages = [
        "clap",
        "indicatif",
        "plotters",
        "maud",
        "comfy_table",
        "statrs",
        "rusqlite",
        "openssh",
        "virt",
        "virt_sys",
    ];
    for package in packages {
        let text = format!("//! L.\n#[derive({package}::Derived)]\nstruct S;");
        caught("src/host/local.rs", &text, "src/host/local.rs:2", package);
    }
    caught(
        "src/host/local.rs",
        "//! L.\nuse clap as c;",
        "src/host/local.rs:2",
        "clap",
    );
    caught(
        "src/host/local.rs",
        "//! L.\nfn f() { unsafe { g() } }",
        "src/host/local.rs:2",
        "unsafe",
    );
    caught(
        "src/cli/x.rs",
        "//! L.\n#[cfg(test)]\nmod t { fn f() { unsafe { g() } } }",
        "src/cli/x.rs:3",
        "unsafe",
    );
    caught(
        "guest/chase.rs",
        "//! C.\nfn f() { unsafe { g() } }",
        "guest/chase.rs:2",
        "unsafe",
    );
    for place in ["src/host/libvirt/node.rs", "guest/sys.rs"] {
        let text = "//! N.\nfn f() { unsafe { g() } }";
        assert_eq!(with(place, text), Vec::<String>::new());
    }
}

#[test]
fn files_are_short_introduced_and_finished() {
    let long = format!("//! L.\n{}", "// x\n".repeat(500));
    caught("src/host/local.rs", &long, "src/host/local.rs:501", "501 lines");
    caught("tests/more.rs", &long, "tests/more.rs:501", "501 lines");
    assert!(
        with("src/host/local.rs", &long[..long.len() - 5]).is_empty(),
        "500 lines are allowed"
    );
    caught(
        "src/host/local.rs",
        "// L.\nfn f() {}",
        "src/host/local.rs:1",
        "//!",
    );
    for name in ["todo", "unimplemented", "dbg"] {
        caught(
            "tests/more.rs",
            &format!("fn f() {{\n    {name}!(x) }}"),
            "tests/more.rs:2",
            name,
        );
    }
    caught(
        "src/host/local.rs",
        "//! L.\nfn f() {\n    x.unwrap();\n}",
        "src/host/local.rs:3",
        "expect",
    );
}

#[test]
fn modules_are_listed() {
    caught("src/lost.rs", "//! L.", "src/lib.rs:1", "mod lost;");
}

#[test]
fn dependencies_are_used_and_the_fixed_ones_are_there() {
    let unused = project(&[], &MANIFEST.replace("[dev", "serde-json='1'\n[dev"));
    assert_eq!(unused, ["Cargo.toml: nothing uses `serde-json`; remove it"]);
    let unused = project(&[], &format!("{MANIFEST}tempfile='3'\n"));
    assert_eq!(unused, ["Cargo.toml: nothing uses `tempfile`; remove it"]);
    let absent = project(&[], &MANIFEST.replace("csv='1'\n", ""));
    assert_eq!(
        absent,
        ["Cargo.toml: `csv` must be a dependency: the project is bound to it"]
    );
    let only_in_tests = project(
        &[
            ("src/store/mod.rs", "//! S.\nuse serde::Serialize;"),
            ("tests/some.rs", "use csv::Reader; use insta::x;"),
        ],
        MANIFEST,
    );
    assert_eq!(only_in_tests, ["Cargo.toml: nothing uses `csv`; remove it"]);
}
