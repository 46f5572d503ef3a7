//! Plans of experiments on machines that are only described: parts, whole plots, and plans that grow.

use super::*;
use crate::diagnostic::Source;
use crate::experiment::parse;
use crate::simulation::Machine;
use crate::units::Bytes;
use crate::workload::Library;

const PACE: Pace = Pace {
    boot: Duration::from_secs(20),
    overhead: Duration::from_millis(500),
};
const IO: &str = "
    [[factor]]
    tunable = \"domain.disk.io\"
    levels = [\"native\", \"io_uring\"]
    baseline = \"threads\"
";
const SCHEDULER: &str = "
    [[factor]]
    tunable = \"guest.disk.scheduler\"
    levels = [\"bfq\", \"kyber\"]
    baseline = \"none\"
";

fn experiment(factors: &str, rest: &str) -> Experiment {
    let source = Source {
        name: "some.toml".into(),
        text: format!("{factors}\n[workload]\nuse = \"fio-randread-4k\"\n{rest}"),
    };
    parse(&source, &Library::builtin()).unwrap_or_else(|e| panic!("{e}"))
}

fn plan_of(experiment: &Experiment, part: Part<'_>) -> Result<Plan, Diagnostics> {
    Plan::new(experiment, &Machine::of(experiment).facts, part, PACE, 3)
}

fn plan(factors: &str, rest: &str, part: Part<'_>) -> Plan {
    plan_of(&experiment(factors, rest), part).unwrap_or_else(|e| panic!("{e}"))
}

fn owned(levels: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(tunable, level): &(&str, &str)| ((*tunable).to_string(), (*level).to_string());
    levels.iter().map(owned).collect()
}

/// Labels against the baseline.
fn labels(plan: &Plan) -> Vec<String> {
    let baseline = &plan.treatments[0];
    plan.treatments
        .iter()
        .map(|t| t.label_against(baseline))
        .collect()
}

/// Each treatment once in each block, in whole plots of one restart setting.
fn check(plan: &Plan) {
    for (number, block) in (0..).zip(&plan.blocks) {
        assert_eq!(block.number, number);
        let mut all: Vec<usize> = block.plots.iter().flat_map(|p| p.treatments.clone()).collect();
        all.sort_unstable();
        assert_eq!(all, (0..plan.treatments.len()).collect::<Vec<_>>());
        for plot in &block.plots {
            let settings = plan.restart_settings(plot);
            assert!(
                plot.treatments
                    .iter()
                    .all(|&t| plan.treatments[t].restart == settings)
            );
        }
    }
}

#[test]
fn the_whole_design_shares_starts_of_the_guest() {
    let whole = plan(&format!("{IO}{SCHEDULER}"), "", Part::Whole);
    check(&whole);
    assert_eq!(
        (whole.treatments.len(), whole.planned, whole.judged()),
        (9, 20, 20)
    );
    assert_eq!(labels(&whole)[0], "baseline");
    assert!(whole.blocks.iter().all(|b| b.plots.len() == 3));
    assert_eq!(whole.candidates().count(), 8);
}

#[test]
fn a_stage_varies_one_factor_from_what_was_kept() {
    let rest = "[design]\nkind = \"one-factor\"\nblocks = 8\n";
    let factors = format!("{IO}{SCHEDULER}");
    let first = plan(&factors, rest, Part::Stage { factor: 0, kept: &[] });
    assert_eq!(
        labels(&first),
        ["baseline", "domain.disk.io=native", "domain.disk.io=io_uring"]
    );
    let kept = owned(&[("domain.disk.io", "native"), ("guest.disk.scheduler", "none")]);
    let second = plan(
        &factors,
        rest,
        Part::Stage {
            factor: 1,
            kept: &kept,
        },
    );
    check(&second);
    assert_eq!(
        labels(&second),
        [
            "baseline",
            "guest.disk.scheduler=bfq",
            "guest.disk.scheduler=kyber"
        ]
    );
    assert!(second.treatments.iter().all(|t| t.levels[0].1 == "native"));
    let io = &second.factors[0];
    assert_eq!(io.levels[io.baseline].label, "native");
    assert_eq!(io.levels[io.original].label, "threads");
}

#[test]
fn an_a_a_plan_has_the_baseline_twice() {
    let noise = plan(SCHEDULER, "", Part::Noise { blocks: 20 });
    check(&noise);
    assert_eq!(labels(&noise), ["baseline", "baseline again"]);
    assert_eq!(noise.treatments[0].live, noise.treatments[1].live);
    assert_ne!(noise.treatments[0].id, noise.treatments[1].id);
    assert_eq!((noise.planned, noise.judged()), (20, 20));
    assert!(
        noise.blocks.iter().all(|b| b.plots.len() == 1),
        "nothing is restarted"
    );
    let restarted = plan(IO, "", Part::Noise { blocks: 20 });
    assert!(
        restarted.blocks.iter().all(|b| b.plots.len() == 2),
        "two boots of one setting differ"
    );
    let order = |plan: &Plan| {
        plan.blocks
            .iter()
            .filter(|b| b.plots[0].treatments[0] == 0)
            .count()
    };
    assert!((4..=17).contains(&order(&restarted)), "the order is drawn");
}

#[test]
fn a_confirmation_has_a_fresh_guest_for_each_trial() {
    let factors = format!("{IO}{SCHEDULER}");
    let levels = owned(&[("domain.disk.io", "threads"), ("guest.disk.scheduler", "bfq")]);
    let confirm = Part::Confirm {
        levels: &levels,
        blocks: 12,
    };
    let confirm = plan(&factors, "", confirm);
    check(&confirm);
    assert_eq!(labels(&confirm), ["baseline", "guest.disk.scheduler=bfq"]);
    assert_eq!(confirm.guests, Guests::Fresh);
    assert!(confirm.blocks.iter().all(|b| b.plots.len() == 2));
    assert_eq!(confirm.restarts(), confirm.trials());
    assert_eq!((confirm.planned, confirm.trials()), (12, 26));
}

#[test]
fn a_long_block_has_the_baseline_in_its_middle() {
    for (factors, plots) in [(SCHEDULER.to_string(), 1), (format!("{IO}{SCHEDULER}"), 4)] {
        let long = plan(&factors, "time = \"20m\"\n", Part::Whole);
        check(&long);
        let middle = long.treatments.len() - 1;
        assert_eq!(long.treatments[middle].role, Role::Middle);
        assert!(long.candidates().all(|(place, _)| place != middle));
        assert!(long.notices.iter().any(|n| n.contains("in its middle")));
        for block in &long.blocks {
            let order: Vec<usize> = block.plots.iter().flat_map(|p| p.treatments.clone()).collect();
            let place = order.iter().position(|&t| t == middle).unwrap();
            assert!(place > 0 && place + 1 < order.len(), "{order:?}");
            assert_eq!(block.plots.len(), plots);
        }
    }
    let short = plan(SCHEDULER, "", Part::Whole);
    assert!(short.treatments.iter().all(|t| t.role == Role::Listed));
    // Two treatments are near each other in any case.
    let pair = plan(
        &SCHEDULER.replace(", \"kyber\"", ""),
        "time = \"40m\"\n",
        Part::Whole,
    );
    assert_eq!(pair.treatments.len(), 2);
}

#[test]
fn a_longer_plan_begins_with_a_shorter_ones_blocks() {
    let factors = format!("{IO}{SCHEDULER}");
    let short = plan(&factors, "[design]\nblocks = 7\n", Part::Whole);
    let long = plan(&factors, "[design]\nblocks = 30\n", Part::Whole);
    assert_eq!(short.blocks[..], long.blocks[..8]);
    let mut grown = short.clone();
    grown.extend(30);
    assert_eq!(grown.blocks, long.blocks);
    assert_eq!(grown.planned, 7, "what was planned is not changed by more blocks");
    grown.extend(12);
    assert_eq!(grown.judged(), 30, "nothing is taken off");
    grown.shorten(7);
    assert_eq!(grown.blocks, short.blocks);
    let orders: std::collections::BTreeSet<_> =
        long.blocks.iter().map(|b| format!("{:?}", b.plots)).collect();
    assert!(orders.len() > 25, "blocks are shuffled anew");
}

#[test]
fn looks_are_taken_within_the_budget() {
    let planned = |budget: &str, design: &str| {
        let plan = plan(
            SCHEDULER,
            &format!("[budget]\ntime = \"{budget}\"\n{design}"),
            Part::Whole,
        );
        let of_budget = plan.notices.iter().filter(|n| n.contains("budget"));
        (plan.planned, plan.judged(), of_budget.count())
    };
    assert_eq!(planned("10h", ""), (20, 20, 0));
    let (fits, judged, notices) = planned("5m", "");
    assert!(
        (8..20).contains(&fits) && judged == fits && notices == 1,
        "{fits}"
    );
    assert_eq!(
        planned("30s", ""),
        (20, 20, 0),
        "fewer than the first look are no plan"
    );
    assert_eq!(
        planned("5m", "[design]\nblocks = 40\n"),
        (40, 40, 0),
        "a fixed number stays"
    );
}

#[test]
fn explicit_treatments_are_what_is_listed() {
    let text = "
        [design]
        kind = \"explicit\"
        [[treatment]]
        name = \"as it is\"
        set = { \"domain.disk.io\" = \"threads\", \"guest.disk.scheduler\" = \"none\" }
        [[treatment]]
        name = \"all\"
        set = { \"domain.disk.io\" = \"native\", \"guest.disk.scheduler\" = \"bfq\" }
        [[treatment]]
        set = { \"guest.disk.scheduler\" = \"bfq\" }
    ";
    let explicit = plan("", text, Part::Whole);
    check(&explicit);
    assert_eq!(labels(&explicit), ["as it is", "all", "guest.disk.scheduler=bfq"]);
    assert_eq!(explicit.treatments[2].levels[0].1, "threads", "as in the first");
    let levels = explicit.treatments[1].levels.clone();
    let confirm = Part::Confirm {
        levels: &levels,
        blocks: 12,
    };
    let confirm = plan("", text, confirm);
    assert_eq!(confirm.treatments[1].levels, levels);
    assert_eq!(confirm.treatments[0].id, explicit.treatments[0].id);
    assert_eq!(confirm.treatments[1].id, explicit.treatments[1].id);

    // What is not set is what it is now, which only the host can tell.
    let same = format!("{text}[[treatment]]\nset = {{ \"guest.swappiness\" = 60 }}\n");
    let wrong = plan_of(&experiment("", &same), Part::Whole).unwrap_err();
    assert!(wrong.to_string().contains("the same as number 1"), "{wrong}");
}

#[test]
fn a_b_is_one_other_level() {
    let text = "[design]\nkind = \"a-b\"\n";
    let pair = plan(&SCHEDULER.replace(", \"kyber\"", ""), text, Part::Whole);
    assert_eq!(labels(&pair), ["baseline", "guest.disk.scheduler=bfq"]);
}

#[test]
fn a_confirmation_takes_the_level_that_won_whatever_is_suggested_now() {
    let experiment = experiment(
        "[[factor]]\ntunable = \"guest.dirty-bytes\"\nlevels = \"suggested\"\n",
        "",
    );
    let mut facts = Machine::of(&experiment).facts;
    let before = Plan::new(&experiment, &facts, Part::Whole, PACE, 3).unwrap();
    let won = before.factors[0].levels[1].label.clone();
    assert!(
        before
            .notices
            .iter()
            .any(|n| n.starts_with("guest.dirty-bytes: of the guest's"))
    );
    facts.guest_ram = Some(crate::facts::Ram {
        total: Bytes::mib(700),
        available: Bytes::mib(600),
    });
    let part = Part::Confirm {
        levels: &owned(&[("guest.dirty-bytes", &won)]),
        blocks: 6,
    };
    let after = Plan::new(&experiment, &facts, part, PACE, 3).unwrap();
    let now = after.factors[0].levels.iter().filter(|l| l.label == won);
    assert_eq!(now.count(), 1, "the level is added");
    assert_eq!(after.treatments.len(), 2);
    assert_eq!(after.treatments[1].id, before.treatments[1].id);
}

#[test]
fn the_plan_says_which_node_is_meant() {
    let whole = plan(
        "[[factor]]\ntunable = \"domain.cpu.pin\"\nlevels = [\"same-node\"]\n",
        "",
        Part::Whole,
    );
    let said = "domain.cpu.pin: same-node is node 0 (CPUs 0-3, 1048576 MiB)";
    assert!(whole.notices.iter().any(|n| n == said), "{:?}", whole.notices);
}

const PAGES: &str = "
    [[factor]]
    tunable = \"host.boot.transparent-hugepage\"
    levels = [\"never\", \"always\"]
    baseline = \"absent\"
";

#[test]
fn boots_of_the_host_hold_starts_of_the_guest_hold_trials() {
    let whole = plan(&format!("{PAGES}{IO}{SCHEDULER}"), "", Part::Whole);
    check(&whole);
    let mut first = std::collections::BTreeSet::new();
    for block in &whole.blocks {
        let boots: Vec<u32> = block.plots.iter().map(|p| p.boot).collect();
        assert_eq!(
            boots,
            [0, 0, 0, 1, 1, 1, 2, 2, 2],
            "whole plots of one boot follow each other"
        );
        for plot in &block.plots {
            let settings = whole.boot_settings(plot);
            let at = BootAt {
                block: block.number,
                boot: plot.boot,
            };
            assert_eq!(whole.boot_settings_at(at), settings);
            assert_eq!(settings.len(), 1);
            let all = plot.treatments.iter().map(|&t| &whole.treatments[t]);
            assert!(
                all.into_iter()
                    .all(|t| t.boot == settings && t.restart.len() == 1)
            );
        }
        first.insert(whole.boot_settings(&block.plots[0])[0].value.to_string());
    }
    assert_eq!(first.len(), 3, "their order is drawn");
    assert_eq!((whole.reboots(), whole.restarts()), (21 * 3 + 1, 21 * 9));
    let again = plan(&format!("{PAGES}{IO}{SCHEDULER}"), "", Part::Whole);
    assert_eq!(whole.blocks, again.blocks);
}

#[test]
fn a_reboot_has_a_price_and_an_a_a_run_two_boots() {
    let live = format!("{PAGES}{SCHEDULER}");
    let rest = "[design]\nkind = \"one-at-a-time\"\nblocks = 6\n[budget]\nreboot = \"10m\"\n";
    let asked = experiment(&live, rest);
    assert!(asked.time_budget.is_none());
    let dear = plan_of(&asked, Part::Whole).unwrap();
    let length = dear.expected(&asked, PACE).0;
    assert_eq!(dear.reboots(), 7 * 3 + 1);
    assert_eq!(dear.restarts(), 7 * 3, "a booted host starts its guest");
    assert!(
        length > Duration::from_mins(220) && length < Duration::from_mins(250),
        "{length:?}"
    );
    assert!(
        dear.treatments.iter().all(|t| t.role != Role::Middle),
        "no boots for a second baseline"
    );
    let noise = plan_of(&asked, Part::Noise { blocks: 6 }).unwrap();
    assert!(
        noise
            .blocks
            .iter()
            .all(|b| b.plots.len() == 2 && b.plots[1].boot == 1)
    );
    let none = plan(SCHEDULER, "", Part::Whole);
    assert_eq!((none.reboots(), none.needs_reboots()), (0, false));
}
