//! From a model to numbers: one draw a trial, start and metric, each a function of the seed and of where it stands.
//!
//! Knows no clock: the moment is an argument.

use super::{Metric, Model, Noise, Tail};
use crate::tunable::Setting;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};
use std::f64::consts::TAU;
use std::time::Duration;

/// Keeps every number finite, however wild a model is.
const MAX_LOG_DEVIATION: f64 = 100.0;

/// Where a trial stands in its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Counts the trials, from 0.
    pub trial: u64,
    /// Counts the starts of the guest.
    pub boot: u64,
    /// Since the run began.
    pub elapsed: Duration,
}

/// A model with its chance.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    model: Model,
    seed: u64,
    /// Of each metric: the wandering of the last trial asked for.
    wanderings: Vec<Option<(u64, f64)>>,
}

impl Truth {
    /// The model with its own seed, else with `seed`.
    pub fn new(model: Model, seed: u64) -> Self {
        Self {
            seed: model.seed.unwrap_or(seed),
            wanderings: vec![None; model.metrics.len()],
            model,
        }
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Whether the trial is one of those that fail.
    pub fn fails(&self, moment: Moment) -> bool {
        self.chance("failure", "", moment.trial).random::<f64>() < self.model.failures
    }

    /// Every metric of a workload, by name, under the settings that `holds` accepts. Asked for in the order of trials;
    /// going back costs time only.
    pub fn numbers(
        &mut self,
        workload: &str,
        moment: Moment,
        holds: impl Fn(&Setting) -> bool,
    ) -> Vec<(String, f64)> {
        let metrics: Vec<_> = self.model.metrics.iter().cloned().enumerate().collect();
        let own = metrics.iter().filter(|(_, m)| m.id.workload == workload);
        own.map(|(index, metric)| {
            let log = self.effect(metric, &holds) + self.deviation(*index, metric, moment);
            let log = log.clamp(-MAX_LOG_DEVIATION, MAX_LOG_DEVIATION);
            (metric.id.metric.clone(), metric.value * log.exp())
        })
        .collect()
    }

    fn effect(&self, metric: &Metric, holds: impl Fn(&Setting) -> bool) -> f64 {
        let all = self.model.effects.iter().filter(|e| e.metric == metric.id);
        all.filter(|e| e.settings.iter().all(&holds))
            .map(|e| e.log_change)
            .sum()
    }

    /// Of the metric's logarithm, at that moment.
    fn deviation(&mut self, index: usize, metric: &Metric, moment: Moment) -> f64 {
        let Noise {
            cv,
            tail,
            boot,
            drift,
            wander,
            ..
        } = metric.noise;
        let name = metric.id.to_string();
        let mut own = self.chance("trial", &name, moment.trial);
        let trial = match tail {
            Tail::Normal => normal(&mut own),
            Tail::T3 => student3(&mut own),
        };
        let luck = normal(&mut self.chance("boot", &name, moment.boot));
        let hours = moment.elapsed.as_secs_f64() / 3600.0;
        let wandering = if wander > 0.0 {
            self.wandering(index, metric, moment.trial)
        } else {
            0.0
        };
        cv * trial + boot * luck + drift * hours + wander * wandering
    }

    /// A stationary autoregressive process of first order with deviation 1, at the trial.
    fn wandering(&mut self, index: usize, metric: &Metric, trial: u64) -> f64 {
        let (name, lag1) = (metric.id.to_string(), metric.noise.lag1);
        let step = |at: u64| normal(&mut self.chance("wander", &name, at));
        let known = self.wanderings[index].filter(|(at, _)| *at <= trial);
        let (mut at, mut value) = known.unwrap_or_else(|| (0, step(0)));
        while at < trial {
            at += 1;
            value = lag1 * value + (1.0 - lag1 * lag1).sqrt() * step(at);
        }
        self.wanderings[index] = Some((at, value));
        value
    }

    /// Chance of one kind and place: another metric or trial more changes none of the others.
    fn chance(&self, kind: &str, metric: &str, number: u64) -> ChaCha8Rng {
        let text = format!("{} {kind} {metric} {number}", self.seed);
        ChaCha8Rng::from_seed(Sha256::digest(text).into())
    }
}

/// Box and Muller (1958).
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (TAU * rng.random::<f64>()).cos()
}

/// Student's t with three degrees of freedom (Bailey 1994) over its deviation, which is the root of three.
fn student3(rng: &mut ChaCha8Rng) -> f64 {
    let radius = ((1.0 - rng.random::<f64>()).powf(-2.0 / 3.0) - 1.0).sqrt();
    radius * (TAU * rng.random::<f64>()).cos()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::diagnostic::Source;
    use crate::experiment::MetricId;
    use crate::units::Span;

    fn truth(noise: Noise) -> Truth {
        let metric = Metric {
            id: MetricId {
                workload: "w".into(),
                metric: "iops".into(),
            },
            value: 1000.0,
            noise,
        };
        let model = Model {
            metrics: vec![metric],
            effects: Vec::new(),
            failures: 0.25,
            trial: Span::secs(1),
            boot: Span::secs(1),
            seed: None,
            network: None,
            source: Source {
                name: String::new(),
                text: String::new(),
            },
        };
        Truth::new(model, 7)
    }

    /// Logarithms over the base value, of trials a minute apart under one start each.
    fn logs(noise: Noise, count: u64) -> Vec<f64> {
        let mut truth = truth(noise);
        let moment = |trial| Moment {
            trial,
            boot: trial / 4,
            elapsed: Duration::from_mins(trial),
        };
        let numbers = (0..count).map(|trial| truth.numbers("w", moment(trial), |_| true)[0].1);
        numbers.map(|n| (n / 1000.0).ln()).collect()
    }

    fn deviation(values: &[f64]) -> f64 {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        (squares / values.len() as f64).sqrt()
    }

    #[test]
    fn each_part_of_the_noise_is_as_wide_as_asked_for() {
        let zero = Noise::default();
        assert!(logs(zero, 10).iter().all(|l| l.abs() < 1e-12));
        let normal = deviation(&logs(Noise { cv: 0.02, ..zero }, 20_000));
        assert!((normal - 0.02).abs() < 0.0005, "{normal}");
        let heavy = logs(
            Noise {
                cv: 0.02,
                tail: Tail::T3,
                ..zero
            },
            20_000,
        );
        assert!((deviation(&heavy) - 0.02).abs() < 0.003, "{}", deviation(&heavy));
        let beyond = heavy.iter().filter(|l| l.abs() > 0.1).count();
        assert!(beyond > 20, "{beyond} beyond five deviations: no heavy tail");
        let drift = logs(Noise { drift: 0.06, ..zero }, 61);
        assert!((drift[60] - 0.06).abs() < 1e-9, "{drift:?}");
    }

    #[test]
    fn luck_is_shared_by_a_start_and_wandering_remembers() {
        let zero = Noise::default();
        let luck = logs(Noise { boot: 0.03, ..zero }, 8000);
        assert!(
            luck.chunks(4)
                .all(|start| start.iter().all(|l| l.to_bits() == start[0].to_bits()))
        );
        assert!((deviation(&luck) - 0.03).abs() < 0.002);
        let wander = Noise {
            wander: 0.02,
            lag1: 0.8,
            ..zero
        };
        let path = logs(wander, 20_000);
        assert!((deviation(&path) - 0.02).abs() < 0.001);
        let products: f64 = path.windows(2).map(|w| w[0] * w[1]).sum();
        let lag1 = products / path.iter().map(|l| l * l).sum::<f64>();
        assert!((lag1 - 0.8).abs() < 0.02, "{lag1}");
        // Whoever begins later sees the same path.
        let mut late = truth(wander);
        let moment = Moment {
            trial: 500,
            boot: 0,
            elapsed: Duration::ZERO,
        };
        let value = late.numbers("w", moment, |_| true)[0].1;
        assert!(((value / 1000.0).ln() - path[500]).abs() < 1e-12);
    }

    #[test]
    fn the_asked_share_of_trials_fails() {
        let truth = truth(Noise::default());
        let moment = |trial| Moment {
            trial,
            boot: 0,
            elapsed: Duration::ZERO,
        };
        let failed = (0..10_000).filter(|&trial| truth.fails(moment(trial))).count();
        assert!((2300..2700).contains(&failed), "{failed}");
        assert!(
            truth.chance("trial", "a", 1).random::<f64>().to_bits()
                != truth.chance("trial", "a", 2).random::<f64>().to_bits()
        );
    }
}
