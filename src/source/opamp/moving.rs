//! Takes offered connection settings into use: they are checked, written to disk, tried, and then kept, or given up for
//! the settings before them.

use prost::Message;

use super::connection::{self, Candidate, Connection, OfferOutcome, OpAmpState};
use super::state::{ClientState, MAX_HASH, PendingMessage, Route, hex, moves};
use super::wire::{self, OfferStatus};
use super::{OpAmp, Orders};
use crate::http::read_regular;
use crate::store::write_durably;

/// The number of tries for new connection settings without a clear answer.
const MAX_TRIES: u32 = 3;

/// The largest state file that is read, in bytes.
const MAX_STATE_FILE: u64 = 1024 * 1024;

impl OpAmp {
    pub(super) fn take_connection(
        &self,
        state: &mut ClientState,
        offers: &wire::ConnectionSettingsOffers,
        orders: &mut Orders,
    ) {
        if offers.hash.len() > MAX_HASH {
            let len = offers.hash.len();
            state.complain(format!("hash of connection settings has {len} bytes, the most kept is {MAX_HASH}"));
            return;
        }
        // Without a hash from the server, the content identifies the offer.
        let key = match (&offers.hash[..], &offers.opamp) {
            ([], Some(opamp)) => otelet_config::hash(&opamp.encode_to_vec()).hex(),
            ([], None) => return,
            (hash, _) => hex(hash),
        };
        if state.kept.offer.as_ref().is_some_and(|offer| offer.key == key) {
            return;
        }
        let before = state.kept.clone();
        let current = state.kept.connection.clone().unwrap_or_default();
        let judged = match &offers.opamp {
            None => Err("only settings for OpAMP itself are taken".to_owned()),
            Some(opamp) if opamp.certificate.is_some() && self.file.is_none() => {
                Err("certificate: there is no place to keep it".to_owned())
            }
            Some(opamp) => connection::judge(opamp, &current, &self.url, self.has_ca_file),
        };
        let mut offer = OfferOutcome { key, hash: offers.hash.clone(), status: 0, message: String::new() };
        state.kept.candidate = None;
        match judged {
            Err(why) => {
                log::warn!("connection settings from the server refused: {why}");
                offer.turn(OfferStatus::Failed, why);
            }
            Ok(connection) if connection.takes_same_route_as(&current) => {
                offer.turn(OfferStatus::Applied, "");
                state.kept.connection = Some(connection).filter(|it| *it != Connection::default());
            }
            Ok(connection) => {
                log::info!("connection settings from the server: trying them");
                offer.turn(OfferStatus::Applying, "");
                state.kept.candidate = Some(Candidate { connection, tries: 0 });
                state.left = false;
            }
        }
        state.kept.offer = Some(offer);
        // The settings are used only once they are on disk: the server may forget the old ones after the first use of
        // the new ones.
        if let Err(why) = self.try_save(state)
            && state.kept.candidate.is_some()
        {
            log::warn!("connection settings from the server refused: {why}");
            let offer = state.kept.offer.take();
            state.kept = OpAmpState { offer, ..before };
            state.turn_offer(OfferStatus::Failed, &format!("cannot be kept: {why}"));
        }
        orders.again = true;
    }

    /// Keeps the connection settings by which an answer came.
    pub(super) fn settle_route(&self, state: &mut ClientState, sent: &PendingMessage, orders: &mut Orders) {
        match sent.route {
            Route::Candidate => {
                if let Some(candidate) = state.kept.candidate.take() {
                    log::info!("connection settings from the server: {} answers; they are kept", sent.shown);
                    state.kept.connection = Some(candidate.connection);
                    state.route = Some(Route::Kept);
                    state.turn_offer(OfferStatus::Applied, "");
                    orders.again = true;
                }
            }
            Route::Settings if state.kept.connection.as_ref().is_some_and(moves) => {
                log::warn!("connection settings of an earlier offer are forgotten: only config.url answers");
                (state.kept.connection, state.kept.offer) = (None, None);
            }
            Route::Settings | Route::Kept => {}
        }
    }

    /// Counts a try of the candidate without a clear answer.
    pub(super) fn try_again(&self, state: &mut ClientState, why: &str) {
        let Some(candidate) = &mut state.kept.candidate else { return };
        candidate.tries += 1;
        if candidate.tries >= MAX_TRIES {
            self.give_up(state, why);
        } else {
            self.save(state);
        }
    }

    /// Gives up the candidate and goes back to the settings before it.
    pub(super) fn give_up(&self, state: &mut ClientState, why: &str) {
        log::warn!("connection settings from the server do not work: {why}; back to the ones before");
        state.kept.candidate = None;
        state.failures = 0;
        state.route = None;
        state.turn_offer(OfferStatus::Failed, why);
        self.save(state);
    }

    pub(super) fn read_file(&self) -> OpAmpState {
        let Some(path) = self.file.as_ref().filter(|path| path.exists()) else { return OpAmpState::default() };
        let read = read_regular(path, MAX_STATE_FILE).map_err(|error| error.to_string());
        let read = read.and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()));
        read.unwrap_or_else(|why| {
            log::warn!("{}: cannot be used: {why}; connection settings start anew", path.display());
            OpAmpState::default()
        })
    }

    fn try_save(&self, state: &mut ClientState) -> Result<(), String> {
        let Some(path) = self.file.as_ref().filter(|_| state.kept != state.saved) else { return Ok(()) };
        let text = serde_json::to_vec(&state.kept).expect("texts and numbers only");
        write_durably(path, &text).map_err(|error| error.chain())?;
        state.saved = state.kept.clone();
        Ok(())
    }

    pub(super) fn save(&self, state: &mut ClientState) {
        if let Err(why) = self.try_save(state) {
            state.complain(format!("the status of its connection settings is not saved: {why}"));
        }
    }
}
