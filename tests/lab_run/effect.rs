//! What is there is found, and what is not there is not.

use crate::place::{Place, script};
use kvmtune::analysis::Verdict;
use kvmtune::decision::Recommendation;
use kvmtune::event::End;

/// Counts to a fixed number and gives the counts per second; the clock has steps of 10 ms.
const SPIN: &str = r"
clock() ( IFS='. '; read -r s c rest </proc/uptime; echo $((s * 100 + 1$c - 100)) );
start=$(clock); i=0;
while [ $i -lt 15000 ]; do i=$((i + 1)); done;
n=$((1500000 / ($(clock) - start + 1)));
";

#[test]
fn a_planted_effect_is_found() {
    let experiment = r#"
        seed = 1
        factor = { tunable = "domain.cpu.quota", levels = [-1, 20000], baseline = 20000 }
        workload = { use = "load" }
        design = { blocks = 6, confirm = false }
    "#;
    let Some(place) = Place::new(experiment, &script(SPIN)) else {
        return;
    };
    place.run();
    place.assert_all_measured();
    assert_eq!(place.summary().end, Some(End::Complete));
    let evaluation = place.evaluation();
    let [comparison] = evaluation.comparisons.as_slice() else {
        panic!("{evaluation:#?}")
    };
    assert_eq!(comparison.primary().verdict, Verdict::Better, "{comparison:#?}");
    let Recommendation::Adopt(winner) = &evaluation.recommendation else {
        panic!("{evaluation:#?}")
    };
    assert_eq!(winner.treatment(), "domain.cpu.quota=-1");
    let report = place.kvmtune(&["report"]);
    assert!(report.status.success(), "{report:?}");
}

/// One in twenty comparisons of a thing with itself is claimed to differ: that is what 5 % means. So a claim alone
/// is no mistake, and a claim is only taken for one where all of 11 blocks agree, which by chance they do in
/// 2 of 2^11 runs, one in a thousand. A bias of the tool itself (its order, what a trial leaves to the next, trials
/// of the wrong treatment) that is larger than the noise makes them agree.
#[test]
fn a_thing_does_not_differ_from_itself() {
    let experiment = r#"
        factor = { tunable = "guest.swappiness", levels = [60, 61] }
        workload = { use = "load" }
        design = { blocks = 11, confirm = false }
    "#;
    let Some(place) = Place::new(experiment, &script(SPIN)) else {
        return;
    };
    place.run();
    place.assert_all_measured();
    let evaluation = place.evaluation();
    let comparison = evaluation.comparisons[0].primary();
    assert_eq!(comparison.effect.blocks, 11);
    assert!(comparison.p_raw > 0.001, "{comparison:#?}");
    let claimed = matches!(comparison.verdict, Verdict::Better | Verdict::Worse);
    assert_eq!(claimed, comparison.p_holm <= 0.05, "{comparison:#?}");
    let adopted = matches!(evaluation.recommendation, Recommendation::Adopt(_));
    assert_eq!(adopted, comparison.verdict == Verdict::Better, "{evaluation:#?}");
}
