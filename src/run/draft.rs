//! A report without the text of the effective config. That takes a look at the disk, so the report is completed on the
//! thread that sends it.

use std::sync::{Arc, Mutex};

use crate::source::Report;
use crate::store::Store;
use otelet_config::redact::Redactor;
use otelet_core::decide::ConfigHash;

/// The text of the effective config, without its secrets.
pub(super) type EffectiveCache = Arc<Mutex<Option<(ConfigHash, Arc<str>)>>>;

pub(super) struct Draft {
    pub report: Report,
    pub effective: Option<ConfigHash>,
    pub store: Store,
    pub redactor: Arc<Redactor>,
    pub cache: EffectiveCache,
}

impl Draft {
    /// Reads the effective config and takes its secrets out, once for each config.
    pub(super) fn complete(self) -> Report {
        let Self { mut report, effective, store, redactor, cache } = self;
        if let (Some(hash), Ok(mut cache)) = (effective, cache.lock()) {
            if cache.as_ref().is_none_or(|(known, _)| *known != hash) {
                let text = store.verify(hash).ok().map(|body| redactor.config(&String::from_utf8_lossy(&body)));
                *cache = text.map(|text| (hash, text.into()));
            }
            report.effective_config = cache.as_ref().map(|(_, text)| text.clone());
        }
        report
    }
}
