//! The rules, each a function from the sources to the places that break it. Knows no files.

use super::syntax::{Name, macro_calls, method_calls, names, test_modules, without_tests};
use proc_macro2::TokenStream;

/// Know nothing of machines, files, clocks and chance.
const PURE: &[&str] = &[
    "units",
    "diagnostic",
    "facts",
    "event",
    "experiment",
    "tunable",
    "design",
    "analysis",
    "decision",
    "decode",
    "simulation",
    "telemetry",
];

/// Modules with effects: what a pure module must not use.
const EFFECTS: &[&str] = &[
    "host", "lab", "change", "store", "report", "session", "across", "check", "runner", "cli",
];

/// What no pure module names.
const IMPURE: &[&[&str]] = &[
    &["std", "fs"],
    &["std", "process"],
    &["std", "env"],
    &["std", "time", "Instant"],
    &["std", "time", "SystemTime"],
    &["Instant", "now"],
    &["SystemTime", "now"],
    &["Timestamp", "now"],
    &["jiff", "Timestamp", "now"],
    &["jiff", "Zoned", "now"],
    &["Zoned", "now"],
    &["rand", "rng"],
    &["rand", "thread_rng"],
    &["rand", "random"],
];

/// Who must not use whom, and why.
const DIRECTION: &[(&str, &[&str], &str)] = &[
    (
        "report",
        &["runner", "host", "lab", "change", "store", "session", "cli"],
        "reports know events, not doers",
    ),
    (
        "runner",
        &["report", "store", "session", "cli"],
        "the runner hands events to a sink and knows no reader of them",
    ),
    (
        "store",
        &["report", "runner", "host", "session", "cli"],
        "the store knows events, not who makes or shows them",
    ),
    (
        "host",
        &["change", "runner", "store", "report", "session", "cli"],
        "the host is the seam: it knows no plan",
    ),
    (
        "change",
        &["runner", "store", "report", "session", "cli"],
        "changes know settings, not plans or readers",
    ),
    (
        "workload",
        &["lab", "change", "runner", "store", "report", "session", "cli"],
        "workloads run nothing themselves",
    ),
];

/// Crates that one folder owns.
const OWNED: &[(&str, &str)] = &[
    ("clap", "src/cli/"),
    ("indicatif", "src/report/"),
    ("plotters", "src/report/"),
    ("maud", "src/report/"),
    ("resvg", "src/report/"),
    ("comfy_table", "src/report/"),
    ("statrs", "src/analysis/"),
    ("rusqlite", "src/store/"),
    ("openssh", "src/host/ssh"),
    ("virt", LIBVIRT),
    ("virt_sys", LIBVIRT),
];

/// `libvirt.rs` and the folder of that name.
const LIBVIRT: &str = "src/host/libvirt";

/// The only places of `unsafe`: libvirt's C, and the few calls of the guest's program that std has no safe way for.
const UNSAFE: &[&str] = &[LIBVIRT, "guest/sys.rs"];

/// Where what is no test stands.
const PRODUCT: &[&str] = &["src/", "guest/"];

const MAX_LINES: usize = 500;

/// Packages the project is bound to.
const FIXED: &[&str] = &[
    "clap",
    "tokio",
    "statrs",
    "serde",
    "csv",
    "plotters",
    "virt",
    "nix",
    "indicatif",
];

/// One Rust file.
pub(crate) struct Source {
    /// Relative to the project: `src/host/mod.rs`.
    pub(crate) path: String,
    pub(crate) text: String,
    all: TokenStream,
    /// Without tests.
    code: TokenStream,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let all: TokenStream = text.parse().unwrap_or_else(|e| panic!("{path} is no Rust: {e}"));
        let code = without_tests(all.clone());
        Self {
            path: path.into(),
            text: text.into(),
            all,
            code,
        }
    }

    /// `["host", "libvirt"]` for `src/host/libvirt.rs`; nothing outside `src`.
    fn module(&self) -> Vec<&str> {
        let path = self.path.strip_prefix("src/").unwrap_or_default();
        let path = path.strip_suffix(".rs").unwrap_or(path);
        let path = path.strip_suffix("/mod").unwrap_or(path);
        path.split('/')
            .filter(|part| !["", "lib", "main"].contains(part))
            .collect()
    }

    /// The module of the crate that a path leads to, be it from `crate` or up from here by `super`.
    fn leads_to<'n>(&self, name: &'n Name) -> Option<&'n str> {
        let first = name.segments.iter().position(|s| s != "super" && s != "self")?;
        let ups = name.segments[..first].iter().filter(|s| *s == "super").count();
        match name.segments[first].as_str() {
            "crate" => name.segments.get(first + 1).map(String::as_str),
            module if ups > 0 && ups == self.module().len() => Some(module),
            _ => None,
        }
    }

    fn is_product(&self) -> bool {
        PRODUCT.iter().any(|folder| self.path.starts_with(folder))
    }

    fn at(&self, line: usize, message: impl std::fmt::Display) -> String {
        format!("{}:{line}: {message}", self.path)
    }
}

/// Everything in which the sources and the manifest break the rules.
pub(crate) fn violations(sources: &[Source], manifest: &str) -> Vec<String> {
    let tests = tests_of(sources);
    let is_test =
        |s: &Source| !s.is_product() || tests.iter().any(|test| s.module().starts_with(&split(test)));
    let mut found = Vec::new();
    for source in sources {
        found.extend(shape(source));
        found.extend(ownership(source));
        if !is_test(source) {
            found.extend(purity(source));
            found.extend(direction(source));
            found.extend(unwraps(source));
        }
    }
    found.extend(listed(sources));
    found.extend(dependencies(sources, manifest));
    // A line that says it twice is one place.
    found.dedup();
    found
}

fn split(module: &str) -> Vec<&str> {
    module.split('/').collect()
}

/// Modules that exist for tests only, as `host/agent/tests`.
fn tests_of(sources: &[Source]) -> Vec<String> {
    let of = |source: &Source| {
        let here = source.module().join("/");
        let declared = test_modules(source.all.clone()).into_iter();
        declared
            .map(|name| format!("{here}/{name}").trim_start_matches('/').to_string())
            .collect::<Vec<_>>()
    };
    sources
        .iter()
        .filter(|s| s.path.starts_with("src/"))
        .flat_map(of)
        .collect()
}

/// Length, the first line, and what is left over from work in progress.
fn shape(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let lines = source.text.lines().count();
    if lines > MAX_LINES {
        found.push(source.at(
            lines,
            format_args!("{lines} lines; split what has more than {MAX_LINES}"),
        ));
    }
    if source.is_product() && !source.text.starts_with("//!") {
        found.push(source.at(
            1,
            "begin with a `//!` line: what the module does and what it does not know",
        ));
    }
    for name in ["todo", "unimplemented", "dbg"] {
        let lines = macro_calls(source.all.clone(), name);
        found.extend(
            lines
                .iter()
                .map(|&line| source.at(line, format_args!("finish it: `{name}!` is left over"))),
        );
    }
    found
}

fn unwraps(source: &Source) -> Vec<String> {
    let lines = method_calls(source.code.clone(), "unwrap");
    lines
        .iter()
        .map(|&line| source.at(line, "return an error, or say in `expect` why it cannot fail"))
        .collect()
}

fn purity(source: &Source) -> Vec<String> {
    let Some(module) = source.module().first().copied().filter(|m| PURE.contains(m)) else {
        return Vec::new();
    };
    let wrong = |name: &Name| {
        let effect = source
            .leads_to(name)
            .filter(|to| EFFECTS.contains(to))
            .map(|to| format!("module `{to}`"));
        let outside = IMPURE
            .iter()
            .find(|path| starts(name, path))
            .map(|path| format!("`{}`", path.join("::")));
        let what = effect.or(outside)?;
        let rule = format!("`{module}` is pure and cannot use {what}; pass what is needed as an argument");
        Some(source.at(name.line, rule))
    };
    names(source.code.clone()).iter().filter_map(wrong).collect()
}

fn starts(name: &Name, path: &[&str]) -> bool {
    name.segments.len() >= path.len() && name.segments.iter().zip(path).all(|(a, b)| a == b)
}

fn direction(source: &Source) -> Vec<String> {
    let module = source.module().first().copied();
    let Some((from, banned, why)) = DIRECTION.iter().find(|(from, ..)| Some(*from) == module) else {
        return Vec::new();
    };
    let names = names(source.code.clone());
    let wrong = names
        .iter()
        .filter_map(|name| Some((name.line, source.leads_to(name)?)));
    let wrong = wrong.filter(|(_, to)| banned.contains(to));
    wrong
        .map(|(line, to)| source.at(line, format_args!("`{from}` cannot use `{to}`: {why}")))
        .collect()
}

fn ownership(source: &Source) -> Vec<String> {
    if !source.is_product() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for name in names(source.all.clone()) {
        let foreign = OWNED
            .iter()
            .find(|(package, home)| uses(&name, package) && !source.path.starts_with(home));
        if let Some((package, home)) = foreign {
            found.push(source.at(name.line, format_args!("`{package}` is used below {home} only")));
        }
        let may = UNSAFE.iter().any(|place| source.path.starts_with(place));
        if name.segments == ["unsafe"] && !may {
            let places = UNSAFE.join(" and ");
            found.push(source.at(name.line, format_args!("`unsafe` is written in {places} only")));
        }
    }
    found
}

/// A lone word may be a variable; a path that begins with the crate is not.
fn uses(name: &Name, package: &str) -> bool {
    name.segments.len() > 1 && name.segments[0] == package
}

/// Every file and folder at the top of `src` is a module of lib.rs.
fn listed(sources: &[Source]) -> Vec<String> {
    let Some(lib) = sources.iter().find(|s| s.path == "src/lib.rs") else {
        return vec!["src/lib.rs:1: there is none".into()];
    };
    let lines: Vec<_> = lib
        .text
        .lines()
        .map(|l| l.trim_start_matches("pub ").trim_end())
        .collect();
    let mut modules: Vec<_> = sources
        .iter()
        .filter_map(|s| s.module().first().copied())
        .collect();
    modules.sort_unstable();
    modules.dedup();
    let missing = modules
        .into_iter()
        .filter(|m| !lines.contains(&format!("mod {m};").as_str()));
    missing
        .map(|m| lib.at(1, format_args!("list `mod {m};`, or remove its files")))
        .collect()
}

/// No dependency without a use, none of the fixed ones missing.
fn dependencies(sources: &[Source], manifest: &str) -> Vec<String> {
    let manifest: toml::Table = manifest.parse().unwrap_or_else(|e| panic!("Cargo.toml: {e}"));
    let listed = |table: &str| -> Vec<String> {
        manifest
            .get(table)
            .and_then(toml::Value::as_table)
            .map(|t| t.keys().cloned().collect())
            .unwrap_or_default()
    };
    let all: Vec<_> = sources.iter().map(|s| (s, names(s.all.clone()))).collect();
    let is_used = |package: &str, in_src: bool| {
        let package = package.replace('-', "_");
        let places = all.iter().filter(|(s, _)| !in_src || s.path.starts_with("src/"));
        places
            .flat_map(|(_, names)| names)
            .any(|name| uses(name, &package))
    };
    let (normal, dev) = (listed("dependencies"), listed("dev-dependencies"));
    let unused = normal
        .iter()
        .filter(|p| !is_used(p, true))
        .chain(dev.iter().filter(|p| !is_used(p, false)));
    let unused = unused.map(|p| format!("Cargo.toml: nothing uses `{p}`; remove it"));
    let absent = FIXED.iter().filter(|fixed| !normal.iter().any(|p| p == *fixed));
    let absent =
        absent.map(|p| format!("Cargo.toml: `{p}` must be a dependency: the project is bound to it"));
    unused.chain(absent).collect()
}
