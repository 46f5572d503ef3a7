//! The report's page in a real browser: nothing complains, tables sort and filter, points name their trial, nothing
//! overflows, everything can be read in the dark and on paper, and hostile texts stay texts.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "browser/mod.rs"]
mod browser;
#[path = "simulated/mod.rs"]
mod simulated;

use browser::Page;
use browser::checks::{CLIPPED, FAINT, FOLD, OVERFLOWING, UNFOLD};
use kvmtune::decision::evaluate;
use kvmtune::event::{End, Outcome, RunHeader, TrialRecord};
use kvmtune::report::{Report, html};
use kvmtune::workload::Observation;
use serde_json::Value;
use simulated::{EFFECTS, NOISE, Place};
use std::fs;
use std::path::PathBuf;

/// Two factors, two responses, a guard, and trials that fail: every part of the page has something to show.
const EXPERIMENT: &str = "
name = \"page\"
question = \"Which I/O mode and scheduler give the most random reads?\"
[[factor]]
tunable = \"domain.disk.io\"
levels = [\"threads\", \"native\"]
baseline = \"threads\"
[[factor]]
tunable = \"guest.disk.scheduler\"
levels = [\"none\", \"bfq\", \"mq-deadline\"]
baseline = \"none\"
[workload]
use = \"fio-randread-4k\"
time = \"3s\"
warmup = \"1s\"
[[response]]
metric = \"iops\"
[[response]]
metric = \"clat_mean_us\"
[[guard]]
metric = \"clat_p99_us\"
margin = \"20%\"
[design]
blocks = 12
confirm = false
";

/// A simulated run with its page, and what synthetic ones are made of.
struct Made {
    place: Place,
    header: RunHeader,
    records: Vec<TrialRecord>,
}

impl Made {
    fn new() -> Self {
        let place = Place::new(EXPERIMENT, &format!("failures = \"4%\"\n{NOISE}{EFFECTS}"));
        place.run("--seed 3 --html page.html");
        let (header, records) = place.recorded().remove(0);
        Self {
            place,
            header,
            records,
        }
    }

    fn page(&self) -> PathBuf {
        self.place.0.path().join("page.html")
    }

    /// A page of these records, with the verdicts of the run as it was.
    fn synthetic(&self, name: &str, header: &RunHeader, records: &[TrialRecord]) -> PathBuf {
        let evaluation = evaluate(&self.header, &self.records).unwrap();
        let report = Report {
            header,
            records,
            evaluation: &evaluation,
            end: Some(End::Complete),
            selection: None,
            confirmation: None,
            against_whole: None,
            front: &[],
            certified: None,
            telemetry: &[],
        };
        let file = self.place.0.path().join(name);
        fs::write(&file, html(&report).unwrap()).unwrap();
        file
    }
}

/// Asserts that a list is empty.
#[track_caller]
fn none(found: &Value, of: &str) {
    assert_eq!(found.as_array().map(Vec::len), Some(0), "{of}: {found:#}");
}

/// The shown values of a column.
fn column(page: &mut Page, table: &str, place: usize) -> Vec<String> {
    let cells = page.value(&format!(
        "[...document.querySelectorAll('#{table} tbody tr')].map((r) => r.cells[{place}].dataset.value ?? r.cells[{place}].textContent)"
    ));
    serde_json::from_value(cells).unwrap()
}

#[test]
fn a_page_is_read_sorted_filtered_and_printed() {
    if !browser::is_here() {
        return;
    }
    let made = Made::new();
    let mut page = Page::new();
    page.size(1440, 900);
    reads_without_a_script(&mut page, &made);
    page.open(&made.page());
    assert_eq!(page.complaints(), Vec::<String>::new());
    sorts(&mut page);
    filters(&mut page);
    copies(&mut page);
    names_trials(&mut page);
    fits(&mut page);
    assert_eq!(page.complaints(), Vec::<String>::new());
}

/// The rows are the same as those the script makes.
fn reads_without_a_script(page: &mut Page, made: &Made) {
    const ROWS: &str = "[...document.querySelectorAll('#every-trial tbody tr')].map((r) => [...r.cells].map((c) => c.className + c.innerHTML + (c.dataset.value ?? '')).join('|')).join('\\n')";
    page.without_script(true);
    page.open(&made.page());
    let rows = page.text(ROWS);
    assert_eq!(rows.lines().count(), made.records.len());
    assert_eq!(
        page.number("document.querySelectorAll('button, input').length")
            .to_bits(),
        0.0_f64.to_bits()
    );
    page.without_script(false);
    page.open(&made.page());
    assert_eq!(page.text(ROWS), rows);
}

fn sorts(page: &mut Page) {
    let numbers = |cells: &[String]| -> Vec<f64> {
        let told = cells.iter().filter(|c| !c.is_empty());
        told.map(|c| c.parse().unwrap()).collect()
    };
    let head = "#every-trial thead th:nth-child(4)";
    page.point(&format!("{head} button"), true);
    let up = column(page, "every-trial", 3);
    assert!(up.last().unwrap().is_empty(), "failed trials come last: {up:?}");
    assert!(numbers(&up).is_sorted(), "{up:?}");
    assert_eq!(
        page.text(&format!("document.querySelector('{head}').ariaSort")),
        "ascending"
    );
    // The same by the keyboard, the other way round.
    page.value(&format!("document.querySelector('{head} button').focus()"));
    page.press("Enter");
    let down = column(page, "every-trial", 3);
    assert!(
        numbers(&down).iter().rev().is_sorted() && down.last().unwrap().is_empty(),
        "{down:?}"
    );
    assert_eq!(
        page.text(&format!("document.querySelector('{head}').ariaSort")),
        "descending"
    );
    page.press("Enter");
    let orders = numbers(&column(page, "every-trial", 1));
    assert!(orders.is_sorted() && orders.len() > 70, "{orders:?}");
    // Guards go along with their treatment, and the baseline stays first.
    page.point("#comparisons thead th:nth-child(2) button", true);
    let bodies = "[...document.querySelectorAll('#comparisons tbody')]";
    let first = page.text(&format!("{bodies}[0].rows[0].cells[0].textContent"));
    assert_eq!(first, "baseline");
    let changes = page.value(&format!(
        "{bodies}.slice(1).map((b) => b.rows[0].cells[1].dataset.value)"
    ));
    let changes: Vec<String> = serde_json::from_value(changes).unwrap();
    assert!(numbers(&changes).is_sorted() && changes.len() == 5, "{changes:?}");
    let kept = page.value(&format!("{bodies}.slice(1).every((b) => b.rows.length === 3)"));
    assert_eq!(kept, true);
    // Intervals by their lower end, which may be below zero: -11 before -3.
    page.point("#comparisons thead th:nth-child(3) button", true);
    let low = page.value(&format!(
        "{bodies}.slice(1).map((b) => b.rows[0].cells[2].dataset.value.slice(1).split(',')[0])"
    ));
    let low: Vec<String> = serde_json::from_value(low).unwrap();
    let low = numbers(&low);
    assert!(
        low.is_sorted() && low.iter().filter(|l| **l < 0.0).count() > 1,
        "{low:?}"
    );
}

fn filters(page: &mut Page) {
    let all = column(page, "every-trial", 0).len();
    page.value("document.querySelector('[aria-label=\"Filter: Every trial\"]').focus()");
    page.call("Input.insertText", serde_json::json!({ "text": "native failed" }));
    page.until("document.querySelector('#trials .tools:has(+ [data-rows]) .count').textContent !== ''");
    let left = column(page, "every-trial", 0).len();
    assert!(left > 0 && left < all, "{left} of {all}");
    let rows =
        page.value("[...document.querySelectorAll('#every-trial tbody tr')].map((r) => r.textContent)");
    let rows: Vec<String> = serde_json::from_value(rows).unwrap();
    assert!(
        rows.iter().all(|r| r.contains("native") && r.contains("failed")),
        "{rows:?}"
    );
}

fn copies(page: &mut Page) {
    page.call(
        "Browser.grantPermissions",
        serde_json::json!({ "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"] }),
    );
    page.point("#trials .tools:has(+ [data-rows]) .copy", true);
    page.until("document.querySelector('#trials .tools:has(+ [data-rows]) .copy').textContent === 'Copied'");
    let copied = page.text("navigator.clipboard.readText()");
    let shown = column(page, "every-trial", 0).len();
    assert_eq!(copied.lines().count(), shown + 1, "{copied}");
    assert!(
        copied.starts_with("block\torder\t") && copied.contains("\tiops, 1/s\t"),
        "{copied}"
    );
    page.point("#repeat .copy", true);
    page.until("document.querySelector('#repeat .copy').textContent === 'Copied'");
    let command = page.text("navigator.clipboard.readText()");
    assert_eq!(command, "kvmtune run some.toml --seed 3 --simulate model.toml");
    page.point("#comparisons thead th", false);
    page.value("document.querySelector('#verdicts .copy').click()");
    page.until("document.querySelector('#verdicts .copy').textContent === 'Copied'");
    let table = page.text("navigator.clipboard.readText()");
    let best = table
        .lines()
        .find(|l| l.starts_with("domain.disk.io=native\t"))
        .unwrap();
    let change: f64 = best.split('\t').nth(1).unwrap().parse().unwrap();
    assert!(
        (5.0..15.0).contains(&change) && best.ends_with("\tbetter"),
        "{best}"
    );
}

fn names_trials(page: &mut Page) {
    page.point("#plot-samples svg [data-trial]", false);
    page.until("!document.getElementById('tip').hidden");
    let told = page.text("document.getElementById('tip').textContent");
    assert!(told.contains("block "), "{told}");
    let trial = page.text("document.querySelector('#plot-samples svg [data-trial]').dataset.trial");
    // The table was filtered; the row comes back.
    page.point("#plot-samples svg [data-trial]", true);
    page.until("document.activeElement.tagName === 'TR'");
    assert_eq!(page.text("document.activeElement.dataset.trial"), trial);
    assert_eq!(
        page.value("document.activeElement.classList.contains('found')"),
        true
    );
    // The same by the keyboard.
    page.value("document.querySelector('#plot-samples .plot').focus()");
    for key in ["ArrowRight", "ArrowRight", "Enter"] {
        page.press(key);
    }
    page.until("document.activeElement.tagName === 'TR'");
    assert_ne!(page.text("document.activeElement.dataset.trial"), trial);
}

fn fits(page: &mut Page) {
    page.value("document.activeElement.blur(); scrollTo(0, 0)");
    for (width, height) in [(1440, 900), (360, 740)] {
        page.size(width, height);
        for scheme in ["light", "dark"] {
            page.medium("screen", scheme);
            keep_picture(page, &format!("{scheme}-{width}"));
            page.value(UNFOLD);
            none(&page.value(OVERFLOWING), &format!("overflows at {width} px"));
            none(&page.value(FAINT), &format!("faint when {scheme} at {width} px"));
            page.value(FOLD);
        }
    }
    page.value(UNFOLD);
    page.size(800, 600);
    none(&page.value(OVERFLOWING), "overflows at 800 px");
    let dark = page.text("getComputedStyle(document.body).backgroundColor");
    assert_ne!(dark, "rgb(255, 255, 255)");
    // A4 between its margins, asked by a reader whose screen is dark.
    page.size(718, 1000);
    page.medium("print", "dark");
    page.value("dispatchEvent(new Event('beforeprint'))");
    none(&page.value(OVERFLOWING), "overflows on paper");
    none(&page.value(CLIPPED), "clipped on paper");
    none(&page.value(FAINT), "faint on paper");
    keep_picture(page, "paper");
    assert_eq!(
        page.text("getComputedStyle(document.body).backgroundColor"),
        "rgb(255, 255, 255)"
    );
    let paper = page.call("Page.printToPDF", serde_json::json!({}));
    assert!(paper["data"].as_str().unwrap().len() > 10_000);
    checks_can_fail(page);
}

/// What is looked for is found where it is.
fn checks_can_fail(page: &mut Page) {
    page.size(360, 740);
    let broken = [
        (".wide { max-width: 9rem; overflow: hidden; }", CLIPPED),
        (".sentence { white-space: nowrap; }", OVERFLOWING),
        (".sentence { color: #999; }", FAINT),
    ];
    for (rule, check) in broken {
        page.value(&format!(
            "document.styleSheets[0].insertRule({rule:?}, document.styleSheets[0].cssRules.length)"
        ));
        let found = page.value(check);
        assert!(!found.as_array().unwrap().is_empty(), "{rule}");
        page.value("document.styleSheets[0].deleteRule(document.styleSheets[0].cssRules.length - 1)");
    }
}

/// For whoever wants to look at the page: `KVMTUNE_PICTURES=FOLDER` has pictures of it written there.
fn keep_picture(page: &mut Page, name: &str) {
    if let Some(folder) = std::env::var_os("KVMTUNE_PICTURES") {
        page.value(
            "document.querySelectorAll('figure').forEach((f) => { f.style.contentVisibility = 'visible'; })",
        );
        fs::write(PathBuf::from(folder).join(format!("{name}.png")), page.picture()).unwrap();
    }
}

const TRIALS: usize = 10_000;
// The order of the trial in the middle of the frame.
const SEEN: &str = "(() => { const r = frame.getBoundingClientRect(); const e = document.elementFromPoint(r.left + 40, r.top + r.height / 2);
    return Number(e?.closest('tr')?.dataset.trial?.split('.')[1] ?? -1); })()";

#[test]
fn ten_thousand_trials_open_and_scroll() {
    if !browser::is_here() {
        return;
    }
    let made = Made::new();
    let mut records = Vec::new();
    let each = u32::try_from(made.header.plan.treatments.len()).unwrap();
    for order in 0..u32::try_from(TRIALS).unwrap() {
        let mut record = made.records[order as usize % made.records.len()].clone();
        record.trial.order = order;
        record.trial.block = order / each;
        record.trial.boot = order / 3;
        if let Outcome::Measured { observations, .. } = &mut record.outcome {
            let more = (0..20).map(|metric| Observation {
                workload: "other".into(),
                metric: format!("metric-{metric}"),
                value: f64::from(order) / 7.0 + f64::from(metric),
            });
            observations.extend(more);
        }
        records.push(record);
    }
    let mut header = made.header.clone();
    header.plan.extend(u32::try_from(TRIALS).unwrap() / each);
    let file = made.synthetic("many.html", &header, &records);
    let size = fs::metadata(&file).unwrap().len();
    assert!(size < 16_000_000, "{size} bytes");
    let mut page = Page::new();
    page.size(1440, 900);
    page.open(&file);
    let rows = "document.querySelectorAll('#every-trial tbody tr').length";
    let first = page.number(rows);
    assert!((100.0..1000.0).contains(&first), "{first}");
    // Down to the last trial.
    page.value("window.frame = document.querySelector('[data-rows]'); frame.scrollIntoView()");
    for part in ["0.3", "0.8", "1"] {
        page.value(&format!("frame.scrollTop = {part} * frame.scrollHeight"));
        page.until(&format!("{SEEN} > {part} * {TRIALS} - 60"));
    }
    let last =
        page.text("[...document.querySelectorAll('#every-trial tbody tr[data-trial]')].at(-1).dataset.trial");
    assert!(last.ends_with(".9999"), "{last}");
    assert!(page.number(rows) < 1000.0);
    let heights = "new Set([...document.querySelectorAll('#every-trial tbody tr[data-trial]')].map((r) => Math.round(r.offsetHeight)))";
    assert!(
        page.number(&format!("{heights}.size")) < 1.5,
        "rows differ in height"
    );
    keep_picture(&mut page, "many");
    // The other way round, at once.
    let head = "document.querySelector('#every-trial thead th:nth-child(2) button')";
    page.value(&format!("{head}.click(); {head}.click()"));
    assert!(
        page.text("document.querySelector('#every-trial tbody tr').dataset.trial")
            .ends_with(".9999")
    );
    assert!(page.number(rows) < 1000.0);
    none(&page.value(OVERFLOWING), "overflows");
    assert_eq!(page.complaints(), Vec::<String>::new());
}

const EVIL: &str = "</script></pre></style><script>window.owned=1</script><img src=x onerror=window.owned=1>\u{202e}\u{1b}[2J'\"&\t\r\n";

#[test]
fn hostile_texts_stay_texts() {
    if !browser::is_here() {
        return;
    }
    let made = Made::new();
    let mut header = made.header.clone();
    let mut records = made.records.clone();
    let long = "long".repeat(3000);
    header.experiment = EVIL.into();
    header.file = EVIL.into();
    header.text = EVIL.repeat(10);
    header.protocol.question = Some(format!("{EVIL}{long}?"));
    header.plan.notices = vec![EVIL.into(), long.clone()];
    header.facts.record.insert(EVIL.into(), EVIL.repeat(20));
    header.facts.record.insert("long".into(), long.clone());
    for treatment in &mut header.plan.treatments {
        for (_, level) in &mut treatment.levels {
            level.push_str(EVIL);
        }
    }
    header.plan.treatments[1].levels[1].1 = long.clone();
    header.protocol.workloads[0].metrics[0].unit = EVIL.into();
    for (place, record) in records.iter_mut().enumerate() {
        match &mut record.outcome {
            Outcome::Measured {
                observations,
                suspect,
            } if place % 2 == 0 => {
                suspect.push(EVIL.into());
                observations.push(Observation {
                    workload: EVIL.into(),
                    metric: long.clone(),
                    value: 1.0,
                });
            }
            Outcome::Failed { message, .. } => *message = EVIL.repeat(50),
            _ => {}
        }
    }
    let file = made.synthetic("evil.html", &header, &records);
    let mut page = Page::new();
    page.size(360, 740);
    page.open(&file);
    keep_picture(&mut page, "hostile");
    page.value(UNFOLD);
    assert_eq!(page.value("window.owned ?? null"), Value::Null);
    assert_eq!(
        page.value("document.querySelectorAll('script, img, iframe').length"),
        1
    );
    let text = page.text("document.body.textContent");
    assert!(text.contains("<img src=x onerror=window.owned=1>"));
    let turns = |c: char| ('\u{202a}'..='\u{202e}').contains(&c) || c == '\u{1b}';
    assert!(!text.contains(turns));
    assert_eq!(
        page.number("document.querySelectorAll('#every-trial tbody tr').length")
            .to_bits(),
        (records.len() as f64).to_bits()
    );
    none(&page.value(OVERFLOWING), "overflows");
    page.size(1440, 900);
    none(&page.value(OVERFLOWING), "overflows");
    assert_eq!(page.complaints(), Vec::<String>::new());
}
