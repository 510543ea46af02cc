//! Takes offered connection settings into use: judged, on disk, tried, and only then kept; or back to the ones before.

use prost::Message;

use super::connection::{self, Candidate, Connection, OpAmpState, Processed};
use super::state::{MOST_HASH, Sent, State, Way, hex, moves};
use super::wire::{self, OfferStatus as Is};
use super::{OpAmp, Orders};
use crate::http::read_regular;
use crate::store::write_durably;

/// How often new connection settings are tried when no clear answer comes.
const TRIES: u32 = 3;

/// The largest state file that is read, in bytes.
const MOST_STATE: u64 = 1024 * 1024;

impl OpAmp {
    pub(super) fn take_connection(
        &self,
        state: &mut State,
        offers: &wire::ConnectionSettingsOffers,
        orders: &mut Orders,
    ) {
        if offers.hash.len() > MOST_HASH {
            let len = offers.hash.len();
            state.complain(format!("hash of connection settings has {len} bytes, the most kept is {MOST_HASH}"));
            return;
        }
        // A server that gives no hash is known by what it offers.
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
        let mut offer = Processed { key, hash: offers.hash.clone(), status: 0, message: String::new() };
        state.kept.candidate = None;
        match judged {
            Err(why) => {
                log::warn!("connection settings from the server refused: {why}");
                offer.turn(Is::Failed, why);
            }
            Ok(connection) if connection.leads_the_same_way_as(&current) => {
                offer.turn(Is::Applied, "");
                state.kept.connection = Some(connection).filter(|it| *it != Connection::default());
            }
            Ok(connection) => {
                log::info!("connection settings from the server: trying them");
                offer.turn(Is::Applying, "");
                state.kept.candidate = Some(Candidate { connection, tries: 0 });
                state.left = false;
            }
        }
        state.kept.offer = Some(offer);
        // Used only once they are on disk: the server may forget the old ones after the first use of the new.
        if let Err(why) = self.try_save(state)
            && state.kept.candidate.is_some()
        {
            log::warn!("connection settings from the server refused: {why}");
            let offer = state.kept.offer.take();
            state.kept = OpAmpState { offer, ..before };
            state.turn_offer(Is::Failed, &format!("cannot be kept: {why}"));
        }
        orders.again = true;
    }

    /// An answer has come: the way that it came is a good one.
    pub(super) fn settle_way(&self, state: &mut State, sent: &Sent, orders: &mut Orders) {
        match sent.way {
            Way::Candidate => {
                if let Some(candidate) = state.kept.candidate.take() {
                    log::info!("connection settings from the server: {} answers, they are kept", sent.shown);
                    state.kept.connection = Some(candidate.connection);
                    state.way = Some(Way::Kept);
                    state.turn_offer(Is::Applied, "");
                    orders.again = true;
                }
            }
            Way::Settings if state.kept.connection.as_ref().is_some_and(moves) => {
                log::warn!("connection settings of an earlier offer are forgotten: only config.url answers");
                (state.kept.connection, state.kept.offer) = (None, None);
            }
            Way::Settings | Way::Kept => {}
        }
    }

    /// The candidate has brought no clear answer.
    pub(super) fn try_again(&self, state: &mut State, why: &str) {
        let Some(candidate) = &mut state.kept.candidate else { return };
        candidate.tries += 1;
        if candidate.tries >= TRIES {
            self.give_up(state, why);
        } else {
            self.save(state);
        }
    }

    /// The candidate is no good: the settings before it are back.
    pub(super) fn give_up(&self, state: &mut State, why: &str) {
        log::warn!("connection settings from the server do not work: {why}; back to the ones before");
        state.kept.candidate = None;
        state.failures = 0;
        state.way = None;
        state.turn_offer(Is::Failed, why);
        self.save(state);
    }

    pub(super) fn read_file(&self) -> OpAmpState {
        let Some(path) = self.file.as_ref().filter(|path| path.exists()) else { return OpAmpState::default() };
        let read = read_regular(path, MOST_STATE).map_err(|error| error.to_string());
        let read = read.and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()));
        read.unwrap_or_else(|why| {
            log::warn!("{}: cannot be used: {why}; connection settings start anew", path.display());
            OpAmpState::default()
        })
    }

    fn try_save(&self, state: &mut State) -> Result<(), String> {
        let Some(path) = self.file.as_ref().filter(|_| state.kept != state.saved) else { return Ok(()) };
        let text = serde_json::to_vec(&state.kept).expect("texts and numbers only");
        write_durably(path, &text).map_err(|error| error.chain())?;
        state.saved = state.kept.clone();
        Ok(())
    }

    pub(super) fn save(&self, state: &mut State) {
        if let Err(why) = self.try_save(state) {
            state.complain(format!("what became of its connection settings is not kept: {why}"));
        }
    }
}
