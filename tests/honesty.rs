//! The figures of `make bench-honesty` with fewer replays: fails when the bounds of one lie wholly beyond its target, or
//! when the data could not tell kvmtune from methods that miss it.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../benches/honesty/replays/mod.rs"]
mod replays;

use replays::{Figure, Half, Pool, Replays, figures};

/// Enough for the bounds of a method that claims falsely twice as often as it may to lie beyond the target.
const REPLAYS: Replays = Replays {
    single: 400,
    family: 100,
};

#[test]
fn no_figure_leaves_its_bound() {
    let pool = match Pool::load(Half::Judging) {
        Ok(pool) => pool,
        Err(absent) => return eprintln!("skipped: {absent}"),
    };
    let mut all: Vec<Figure> = Vec::new();
    figures(&pool, REPLAYS, |figure| {
        println!("{figure}");
        all.push(figure);
    });
    let refuted: Vec<String> = all
        .iter()
        .filter(|f| f.is_refuted())
        .map(Figure::to_string)
        .collect();
    assert!(refuted.is_empty(), "{}", refuted.join("\n"));
    let telling = all.iter().filter(|figure| figure.tells_others_apart()).count();
    assert!(telling >= 10, "only {telling} figures tell other methods apart");
}
