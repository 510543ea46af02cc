//! A report without the text of the effective config. That takes a look at the disk, so the report is completed on the
//! thread that sends it.

use std::sync::{Arc, Mutex};

use crate::source::Report;
use crate::store::{LocalFile, Store};
use otelet_config::merge;
use otelet_config::redact::Redactor;
use otelet_core::decide::ConfigHash;

/// The text of the effective config, without its secrets.
pub(super) type EffectiveCache = Arc<Mutex<Option<EffectiveConfig>>>;

/// The running config as it is shown.
pub(super) struct EffectiveConfig {
    hash: ConfigHash,
    /// The files of the host below it.
    files: Arc<[LocalFile]>,
    text: Arc<str>,
}

pub(super) struct Draft {
    pub report: Report,
    pub effective: Option<ConfigHash>,
    /// The files of the host that the collector was given.
    pub files: Arc<[LocalFile]>,
    pub store: Store,
    pub redactor: Arc<Redactor>,
    pub cache: EffectiveCache,
}

impl Draft {
    /// Reads the effective config and takes its secrets out, once for each config. With files of the host it is what the
    /// collector makes of all of them.
    pub(super) fn complete(self) -> Report {
        let Self { mut report, effective, files, store, redactor, cache } = self;
        if let (Some(hash), Ok(mut cache)) = (effective, cache.lock()) {
            if cache.as_ref().is_none_or(|known| known.hash != hash || known.files != files) {
                *cache = store.verify(hash).ok().map(|body| {
                    let shown = redactor.config(&joined(&files, &body));
                    EffectiveConfig { hash, files, text: shown.into() }
                });
            }
            report.effective_config = cache.as_ref().map(|known| known.text.clone());
        }
        report
    }
}

/// The body on top of the files. If they cannot be merged here, the body alone.
fn joined(files: &[LocalFile], body: &[u8]) -> String {
    let bodies = || files.iter().map(|file| file.body.as_bytes()).chain([body]);
    let merged = (!files.is_empty()).then(|| merge::layered(bodies())).and_then(Result::ok);
    merged.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned())
}
