//! The runs of a sitting: what each plans, and which one follows from what another showed.

use super::draw_seed;
use super::failure::Failure;
use super::plan::Looked;
use crate::decision::{self, Evaluation, certificate, certifies, evaluate};
use crate::design::{Part, Plan, Role, TreatmentId};
use crate::event::{Certificate, Event, Purpose, RunHeader, RunId, TrialRecord};
use crate::experiment::{CONFIRMING, DesignKind, Experiment};
use crate::facts::{CLASS, Facts};
use crate::simulation;
use crate::store::Store;

/// Blocks of a confirmation: what is asked for, else what the experiment says, else 12.
pub(super) fn confirming_blocks(experiment: &Experiment, asked: Option<u32>) -> u32 {
    asked.or(experiment.design.confirm).unwrap_or(CONFIRMING)
}

/// One run of a sitting.
#[derive(Debug, Clone)]
pub(super) enum Leg {
    /// A run of its own.
    New {
        /// What it is for.
        purpose: Purpose,
        /// Which part of the experiment it plans.
        part: OwnPart,
        /// The class its host must have; any when there is none.
        class: Option<String>,
    },
    /// A run that was begun in another sitting.
    GoOn {
        /// What it is of.
        header: Box<RunHeader>,
        /// Its trials.
        records: Vec<TrialRecord>,
        /// Whether all its blocks are wanted, whatever they show.
        to_the_end: bool,
    },
}

/// A [`Part`] that owns its levels.
#[derive(Debug, Clone)]
pub(super) enum OwnPart {
    Whole,
    Stage {
        factor: usize,
        kept: Levels,
    },
    Noise {
        blocks: u32,
    },
    Confirm {
        levels: Levels,
        blocks: u32,
    },
    Minimal {
        levels: Levels,
        whole: Levels,
        blocks: u32,
    },
    Ablate {
        levels: Levels,
        blocks: u32,
    },
}

type Levels = Vec<(String, String)>;

impl OwnPart {
    fn part(&self) -> Part<'_> {
        match self {
            Self::Whole => Part::Whole,
            Self::Stage { factor, kept } => Part::Stage {
                factor: *factor,
                kept,
            },
            Self::Noise { blocks } => Part::Noise { blocks: *blocks },
            Self::Confirm { levels, blocks } => Part::Confirm {
                levels,
                blocks: *blocks,
            },
            Self::Minimal {
                levels,
                whole,
                blocks,
            } => Part::Minimal {
                levels,
                whole,
                blocks: *blocks,
            },
            Self::Ablate { levels, blocks } => Part::Ablate {
                levels,
                blocks: *blocks,
            },
        }
    }

    /// What a recorded run planned.
    fn of(header: &RunHeader) -> Self {
        let levels = |treatment: usize| {
            let treatment = header.plan.treatments.get(treatment);
            treatment.map_or_else(Vec::new, |t| t.levels.clone())
        };
        let blocks = header.plan.planned;
        match header.purpose {
            Purpose::Sweep => Self::Whole,
            Purpose::Noise => Self::Noise { blocks },
            Purpose::Confirm { .. } => {
                let whole = header.plan.treatments.iter().find(|t| t.role == Role::Whole);
                match whole {
                    Some(whole) => Self::Minimal {
                        levels: levels(1),
                        whole: whole.levels.clone(),
                        blocks,
                    },
                    None => Self::Confirm {
                        levels: levels(1),
                        blocks,
                    },
                }
            }
            Purpose::Ablate { .. } => Self::Ablate {
                levels: levels(0),
                blocks,
            },
            Purpose::Stage { number, .. } => Self::Stage {
                factor: number.saturating_sub(1) as usize,
                kept: levels(0),
            },
        }
    }
}

/// A run about to be measured.
pub(super) struct Planned {
    pub(super) header: RunHeader,
    pub(super) records: Vec<TrialRecord>,
    pub(super) to_the_end: bool,
    goes_on: bool,
}

impl Planned {
    pub(super) fn first_event(&self) -> Event {
        if self.goes_on {
            Event::RunResumed {
                run: self.header.run,
                done: u32::try_from(self.records.len()).unwrap_or(u32::MAX),
                blocks: self.header.plan.judged(),
            }
        } else {
            Event::RunStarted {
                header: Box::new(self.header.clone()),
            }
        }
    }
}

impl Leg {
    /// The first run of an experiment.
    pub(super) fn first(experiment: &Experiment) -> Self {
        match experiment.design.kind {
            DesignKind::OneFactor => Self::stage(experiment, 1, None, Vec::new(), None),
            _ => Self::New {
                purpose: Purpose::Sweep,
                part: OwnPart::Whole,
                class: None,
            },
        }
    }

    /// An A/A run.
    pub(super) fn noise(blocks: u32) -> Self {
        Self::New {
            purpose: Purpose::Noise,
            part: OwnPart::Noise { blocks },
            class: None,
        }
    }

    fn stage(
        experiment: &Experiment,
        number: u32,
        first: Option<RunId>,
        kept: Levels,
        class: Option<String>,
    ) -> Self {
        Self::New {
            purpose: Purpose::Stage {
                number,
                of: u32::try_from(experiment.factors.len()).unwrap_or(u32::MAX),
                first,
            },
            part: OwnPart::Stage {
                factor: number.saturating_sub(1) as usize,
                kept,
            },
            class,
        }
    }

    /// The confirmation of a treatment that `header`'s run found best.
    pub(super) fn confirm(header: &RunHeader, levels: Levels, blocks: u32) -> Self {
        Self::New {
            purpose: Purpose::Confirm { of: header.run },
            part: OwnPart::Confirm { levels, blocks },
            class: Some(header.facts.class()),
        }
    }

    /// The confirmation of what the ablation of `header`'s run left of a winner, which is measured beside it.
    pub(super) fn minimal(header: &RunHeader, levels: Levels, whole: Levels, blocks: u32) -> Self {
        Self::New {
            purpose: Purpose::Confirm { of: header.run },
            part: OwnPart::Minimal {
                levels,
                whole,
                blocks,
            },
            class: Some(header.facts.class()),
        }
    }

    /// A winner that `header`'s run confirmed, without each of its settings.
    pub(super) fn ablate(header: &RunHeader, levels: Levels, blocks: u32) -> Self {
        Self::New {
            purpose: Purpose::Ablate { of: header.run },
            part: OwnPart::Ablate { levels, blocks },
            class: Some(header.facts.class()),
        }
    }

    /// The run that goes on, if it is one.
    pub(super) fn header(&self) -> Option<&RunHeader> {
        match self {
            Self::New { .. } => None,
            Self::GoOn { header, .. } => Some(header),
        }
    }

    /// Plans the run on the host and guest that were looked at.
    pub(super) fn plan(
        &self,
        experiment: &Experiment,
        looked: &Looked,
        seed: Option<u64>,
        store: Option<&Store>,
    ) -> Result<Planned, Failure> {
        match self {
            Self::New { purpose, part, class } => {
                if let Some(class) = class.as_ref().filter(|class| **class != looked.facts.class()) {
                    return Err(Failure::environment(format!(
                        "this host is of class {}, the run that this one would follow of class {class}: results of unlike \
                         hosts are never pooled; run the whole experiment here",
                        looked.facts.class()
                    )));
                }
                let seed = seed.or(experiment.seed).unwrap_or_else(draw_seed);
                let plan = plan(experiment, looked, part.part(), seed)?;
                let mut header = new_header(experiment, plan, looked.facts.clone(), purpose.clone());
                if let (Some(store), false) = (store, header.purpose == Purpose::Noise) {
                    header.certificate = newest_certificate(store, &header)?;
                }
                Ok(Planned {
                    header,
                    records: Vec::new(),
                    to_the_end: false,
                    goes_on: false,
                })
            }
            Self::GoOn {
                header,
                records,
                to_the_end,
            } => {
                let plan = plan(experiment, looked, OwnPart::of(header).part(), header.plan.seed)?;
                Ok(Planned {
                    header: go_on(header, plan, &looked.facts)?,
                    records: records.clone(),
                    to_the_end: *to_the_end,
                    goes_on: true,
                })
            }
        }
    }
}

fn plan(experiment: &Experiment, looked: &Looked, part: Part<'_>, seed: u64) -> Result<Plan, Failure> {
    let mut plan = Plan::new(experiment, &looked.facts, part, looked.pace, seed)?;
    plan.notices
        .extend(looked.facts.simulated().map(|_| simulation::NOTICE.into()));
    Ok(plan)
}

fn new_header(experiment: &Experiment, plan: Plan, facts: Facts, purpose: Purpose) -> RunHeader {
    RunHeader {
        run: RunId(uuid::Uuid::now_v7()),
        started: jiff::Timestamp::now(),
        version: env!("CARGO_PKG_VERSION").into(),
        experiment: experiment.name.clone(),
        file: experiment.source.name.clone(),
        text: experiment.source.text.clone(),
        purpose,
        certificate: None,
        protocol: experiment.protocol(),
        plan,
        facts,
    }
}

/// The header of a run that goes on: its places may have moved (another loop device), its treatments and order may
/// not, and neither may the host be another one.
fn go_on(header: &RunHeader, mut plan: Plan, facts: &Facts) -> Result<RunHeader, Failure> {
    let ids = |plan: &Plan| -> Vec<TreatmentId> { plan.treatments.iter().map(|t| t.id.clone()).collect() };
    plan.planned = header.plan.planned;
    // Whether a block is long enough for a second baseline was decided by the pace of the first sitting.
    plan.treatments.retain(|t| t.role != Role::Middle);
    let middle = header.plan.treatments.iter().filter(|t| t.role == Role::Middle);
    plan.treatments.extend(middle.cloned());
    plan.blocks.clear();
    plan.extend(header.plan.judged());
    let same_plan = ids(&header.plan) == ids(&plan) && header.plan.blocks == plan.blocks;
    let differs = CLASS
        .into_iter()
        .find(|fact| header.facts.record.get(*fact) != facts.record.get(*fact));
    let why = match (same_plan, differs) {
        (true, None) => {
            return Ok(RunHeader {
                plan,
                ..header.clone()
            });
        }
        (false, _) => "this host or guest offers other levels now".to_string(),
        (true, Some(fact)) => format!("{fact} is not what it was; results of unlike hosts are never pooled"),
    };
    Err(Failure::environment(format!(
        "run {} cannot be resumed: {why}; start a new run",
        header.run.short()
    )))
}

/// What the newest A/A run of the same question on the same host says.
fn newest_certificate(store: &Store, header: &RunHeader) -> Result<Option<Certificate>, Failure> {
    let runs = store.runs()?;
    for run in runs.iter().rev().filter(|r| r.purpose == Purpose::Noise) {
        let noise = store.header(run.run)?;
        if !certifies(&noise, header) {
            continue;
        }
        // One whose numbers cannot be judged certifies nothing.
        if let Ok(Some(found)) = certificate(&noise, &store.trials(run.run)?) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The run that follows: the next factor, or the confirmation of what was found best.
pub(super) fn next(
    experiment: &Experiment,
    header: &RunHeader,
    records: &[TrialRecord],
) -> Result<Option<Leg>, Failure> {
    let evaluation = judged(header, records)?;
    let confirmed = |levels: Levels| {
        let blocks = experiment.design.confirm?;
        Some(Leg::confirm(header, levels, blocks))
    };
    Ok(match header.purpose {
        Purpose::Noise | Purpose::Confirm { .. } | Purpose::Ablate { .. } => None,
        Purpose::Stage { number, of, first } if number < of => {
            let start = header.plan.treatments[0].levels.clone();
            let kept = decision::best(header, &evaluation).unwrap_or(start);
            let first = first.or(Some(header.run));
            let class = Some(header.facts.class());
            Some(Leg::stage(experiment, number + 1, first, kept, class))
        }
        Purpose::Sweep | Purpose::Stage { .. } => {
            decision::found_best(header, &evaluation).and_then(confirmed)
        }
    })
}

fn judged(header: &RunHeader, records: &[TrialRecord]) -> Result<Evaluation, Failure> {
    evaluate(header, records)
        .map_err(|e| Failure::environment(format!("run {} cannot be judged: {e}", header.run.short())))
}

/// The levels of the treatment that a run recommends, if it recommends one.
pub(super) fn best(header: &RunHeader, records: &[TrialRecord]) -> Result<Option<Levels>, Failure> {
    let evaluation = judged(header, records)?;
    Ok(decision::best(header, &evaluation))
}

/// Whether a run of this purpose follows the run of `header`.
pub(super) fn follows(purpose: &Purpose, header: &RunHeader) -> bool {
    match (purpose, &header.purpose) {
        (Purpose::Confirm { of } | Purpose::Ablate { of }, _) => *of == header.run,
        (
            Purpose::Stage {
                number,
                first: Some(first),
                ..
            },
            Purpose::Stage {
                number: own,
                first: own_first,
                ..
            },
        ) => *number == own + 1 && *first == own_first.unwrap_or(header.run),
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::design::Pace;
    use crate::diagnostic::Source;
    use crate::experiment::parse;
    use crate::simulation::Machine;
    use crate::workload::Library;
    use std::time::Duration;

    const EXPERIMENT: &str = "
        [[treatment]]
        set = { \"guest.thp\" = \"never\", \"guest.swappiness\" = \"60\" }
        [[treatment]]
        set = { \"guest.thp\" = \"always\", \"guest.swappiness\" = \"10\" }
        [workload]
        use = \"fio-randread-4k\"
        [design]
        kind = \"a-b\"
    ";

    #[test]
    fn what_follows_a_run_is_measured_on_a_host_of_its_class() {
        let source = Source {
            name: "some.toml".into(),
            text: EXPERIMENT.into(),
        };
        let experiment = parse(&source, &Library::builtin()).unwrap();
        let mut looked = Looked {
            facts: Machine::of(&experiment).facts,
            pace: Pace {
                boot: Duration::ZERO,
                overhead: Duration::ZERO,
            },
        };
        let sweep = Leg::first(&experiment)
            .plan(&experiment, &looked, Some(1), None)
            .unwrap();
        let winner = sweep.header.plan.treatments[1].levels.clone();
        let baseline = sweep.header.plan.treatments[0].levels.clone();
        let legs = [
            Leg::confirm(&sweep.header, winner.clone(), 12),
            Leg::ablate(&sweep.header, winner.clone(), 12),
            Leg::minimal(&sweep.header, baseline, winner, 12),
        ];
        for leg in &legs[..2] {
            let planned = leg.plan(&experiment, &looked, Some(2), None).unwrap();
            // What is planned again for a run that goes on is the same.
            let again = Leg::GoOn {
                header: Box::new(planned.header.clone()),
                records: Vec::new(),
                to_the_end: false,
            };
            let again = again.plan(&experiment, &looked, None, None).unwrap();
            assert_eq!(again.header.plan.blocks, planned.header.plan.blocks);
            assert_eq!(again.header.plan.treatments, planned.header.plan.treatments);
        }
        looked.facts.record.insert(CLASS[0].into(), "another".into());
        for leg in legs {
            let refused = leg.plan(&experiment, &looked, Some(2), None).err().unwrap();
            assert!(refused.render(false).contains("never pooled"), "{refused:?}");
        }
    }
}
