//! Many replays on all cores, each from its own seed. Does not know what is replayed.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::num::NonZero;
use std::thread;

/// What each replay gave, in the order of the seeds, whatever the number of cores.
pub(crate) fn replay<T: Send>(
    stream: u64,
    replays: u32,
    one: impl Fn(&mut ChaCha8Rng) -> T + Sync,
) -> Vec<T> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let seeds: Vec<u64> = (0..u64::from(replays)).collect();
    let share = seeds.len().div_ceil(cores).max(1);
    thread::scope(|scope| {
        let work = |seeds: &[u64]| {
            seeds
                .iter()
                .map(|&seed| one(&mut rng(stream, seed)))
                .collect::<Vec<T>>()
        };
        let workers: Vec<_> = seeds
            .chunks(share)
            .map(|seeds| scope.spawn(move || work(seeds)))
            .collect();
        let finish = |worker: thread::ScopedJoinHandle<'_, Vec<T>>| worker.join().unwrap();
        workers.into_iter().flat_map(finish).collect()
    })
}

/// Streams are the figures, so that a figure does not change when another is added.
fn rng(stream: u64, seed: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}
