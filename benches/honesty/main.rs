//! `make bench-honesty`: prints the figures the protocol promises, each with its bounds, beside those of other methods.
#![allow(clippy::unwrap_used, reason = "a benchmark")]

mod replays;

use replays::{Figure, Half, Pool, Replays, figures};
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let tuning = std::env::args().any(|argument| argument == "tuning");
    let half = if tuning { Half::Tuning } else { Half::Judging };
    let pool = match Pool::load(half) {
        Ok(pool) => pool,
        Err(absent) => {
            eprintln!("{absent}");
            return ExitCode::FAILURE;
        }
    };
    let replays = if tuning {
        Replays {
            single: 10_000,
            family: 1_000,
        }
    } else {
        Replays {
            single: 40_000,
            family: 10_000,
        }
    };
    let begin = Instant::now();
    println!("| figure | on | kvmtune | target | | others, same values |");
    println!("|---|---|---|---|---|---|");
    let mut all = Vec::new();
    figures(&pool, replays, |figure: Figure| {
        println!("{figure}");
        all.push(figure);
    });
    let count = |wanted: fn(&Figure) -> bool| all.iter().filter(|figure| wanted(figure)).count();
    let (met, missed) = (
        count(|f| f.is_met() == Some(true)),
        count(|f| f.is_met() == Some(false)),
    );
    let (surely, others) = (count(Figure::is_refuted), count(Figure::tells_others_apart));
    println!(
        "\n{met} targets met, {missed} missed ({surely} beyond doubt); {others} times another method misses the target \
         beyond doubt on the same values"
    );
    eprintln!("{:.0} s", begin.elapsed().as_secs_f64());
    if count(Figure::is_failure) == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
