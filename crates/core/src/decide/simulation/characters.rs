//! The configs of the simulation: each byte is a collector that behaves in one way.

use super::*;

/// The behaviour of a collector on a config, chosen by the first byte of its hash, so that it is the same each time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Character {
    Good,
    Malformed,
    FailsValidation,
    DiesAtStart,
    DiesLater,
    Hangs,
    Sick,
    NeverReady,
    /// Its start takes longer than the settings allow.
    Slow,
}

pub(super) fn character(hash: ConfigHash) -> Character {
    use Character::*;
    match hash.0[0] {
        0..=3 => Good,
        4 => Malformed,
        5 => FailsValidation,
        6 => DiesAtStart,
        7 => DiesLater,
        8 => Hangs,
        9 => Sick,
        10 => NeverReady,
        11 => DiesAtStart,
        12 => Slow,
        _ => Good,
    }
}

/// Whether two configs differ in comments alone.
pub(super) fn alike(one: ConfigHash, other: ConfigHash) -> bool {
    one == other || [one, other].iter().all(|it| *it == hash(1) || *it == hash(3))
}

/// Whether the config has a Docker receiver: its collector does not start while the engine is away.
pub(super) fn reads_engine(hash: ConfigHash) -> bool {
    hash.0[0].is_multiple_of(2)
}

/// The end of a collector that finds no engine.
pub(super) const NO_ENGINE: &str = "no such socket";

/// Whether additions can be passed beside the config.
pub(super) fn has_additions(hash: ConfigHash) -> bool {
    hash.0[0] % 4 != 2
}

/// The end of a collector whose additions are bad.
pub(super) const BAD_ADDITIONS: &str = "cannot bear the additions";
