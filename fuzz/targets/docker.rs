//! Any bytes at a Docker engine's socket: its HTTP in pieces, its events a line each, its statistics.

#![no_main]

use libfuzzer_sys::fuzz_target;
use otelet::observe::docker::Engine;
use otelet::observe::docker::answer::Answer;
use otelet::observe::docker::events::{self, Lines};
use otelet::observe::docker::usage::Stats;

fuzz_target!(|data: &[u8]| {
    let Some((step, data)) = data.split_first() else { return };
    let whole = taken(data, data.len().max(1));
    assert_eq!(taken(data, usize::from(*step).max(1)), whole, "however it is torn");

    let mut lines = Lines::default();
    let mut longest = 0;
    lines.take(whole.as_deref().unwrap_or(data), |line| {
        longest = longest.max(line.len());
        match events::read(line) {
            Ok(Some(event)) => {
                let record = event.record;
                assert!(record.attributes.len() <= 64, "labels are bounded");
                assert!(!record.body.is_empty() && record.body.len() < 2048, "one sentence");
                true
            }
            read => read.is_ok(),
        }
    });
    assert!(longest <= 64 * 1024, "a line is bounded");

    let _ = Engine::read(data);
    if let Ok(stats) = serde_json::from_slice::<Stats>(data)
        && let Some((points, _)) = stats.points(&Vec::new(), None, None)
    {
        assert!(points.len() <= 32 && points.iter().all(|point| point.value.as_f64().is_finite()));
    }
});

fn taken(data: &[u8], step: usize) -> Option<Vec<u8>> {
    let (mut answer, mut body) = (Answer::default(), Vec::new());
    for piece in data.chunks(step) {
        answer.take(piece, &mut body).ok()?;
    }
    answer.status().map(|_| body)
}
