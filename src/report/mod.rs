//! stub
#![allow(missing_docs)]
use crate::decision::Evaluation;
use crate::design::Plan;
use crate::event::{End, Event, RunHeader, TrialRecord};
use crate::units::Span;
pub struct Report<'a> {
    pub header: &'a RunHeader,
    pub records: &'a [TrialRecord],
    pub evaluation: &'a Evaluation,
    pub end: Option<End>,
}
pub struct Progress;
impl Progress {
    pub fn new(_q: bool, _c: bool) -> Self {
        Self
    }
    pub fn event(&mut self, e: &Event) {
        match e {
            Event::TrialFinished { record } => {
                eprintln!("{:?} {:?} {:?}", record.trial, record.timing, record.outcome);
            }
            Event::RunStarted { .. } => eprintln!("started"),
            e => eprintln!("{e:?}"),
        }
    }
    pub fn tick(&mut self) {}
    pub fn finish(&mut self) {}
}
#[derive(serde::Serialize)]
pub struct RunRow {
    pub id: String,
    pub experiment: String,
    pub started: String,
    pub done: u32,
    pub planned: u32,
    pub state: String,
}
pub fn runs(_r: &[RunRow]) -> String {
    String::new()
}
pub fn overhead(_r: &Report) -> String {
    String::new()
}
pub fn json(_r: &Report) -> String {
    String::new()
}
pub fn markdown(_r: &Report) -> String {
    String::new()
}
pub fn text(r: &Report, _c: bool) -> String {
    format!("{:#?}", r.evaluation)
}
pub fn html(_r: &Report) -> Result<String, std::fmt::Error> {
    Ok(String::new())
}
pub fn plan_json(_p: &Plan, _s: Span) -> String {
    String::new()
}
pub fn plan_text(p: &Plan, s: Span) -> String {
    format!("{p:#?} {s}")
}
