//! The table in memory and its only writer: takes in what happened, keeps what follows, and only then lets it be answered.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use otelet_hub_decide::{Action, Fleet, Happened, Hash, Labels, Member, Millis, Rule, Stop, Target, Uid};
use tokio::sync::mpsc;

use crate::clock::{next_id, now, secret, sha256};
use crate::store::{Store, StoreError, Write, int, maybe_int, maybe_text, text, write};

/// The holder of a token of an agent's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// An agent, by its own credential.
    Agent(Uid),
    /// Somebody who may enrol agents.
    Enrolment(i64),
}

/// An enrolment token, without the token.
#[derive(Debug, Clone)]
pub struct Enrolment {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// The agents that it may still enrol.
    pub uses_left: i64,
    /// When it ends.
    pub expires: Millis,
    /// The labels that it gives.
    pub labels: Labels,
}

#[derive(Debug, Clone)]
struct Credential {
    uid: Uid,
    enrolment: Option<i64>,
    used: bool,
}

#[derive(Debug, Default)]
struct Keys {
    credentials: HashMap<Hash, Credential>,
    of_agent: HashMap<Uid, Hash>,
    enrolments: HashMap<Hash, Enrolment>,
    /// Credentials that were offered and not used yet: the same one is offered until it is.
    offered: HashMap<Uid, String>,
}

/// The end of a standing connection, or news for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Push {
    /// There may be something to offer.
    Look,
    /// The credential was revoked.
    Close,
}

/// Why an agent is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The token is unknown, has ended or was revoked.
    Unauthorized(&'static str),
    /// The token belongs to another agent.
    Forbidden(&'static str),
    /// The database takes no writes.
    Unavailable(String),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// The hub.
#[derive(Debug)]
pub struct Hub {
    /// The database.
    pub store: Store,
    fleet: Mutex<Fleet>,
    keys: RwLock<Keys>,
    sockets: Mutex<HashMap<Uid, mpsc::UnboundedSender<Push>>>,
    restarts: Mutex<HashMap<Uid, i64>>,
    /// The memory may differ from the database, so it is read anew before anything else is done.
    stale: AtomicBool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics while holding this lock")
}

impl Hub {
    /// Reads everything from the database.
    ///
    /// # Errors
    ///
    /// Errors of the database.
    pub async fn start(store: Store) -> Result<Arc<Self>, StoreError> {
        let hub = Self {
            store,
            fleet: Mutex::default(),
            keys: RwLock::default(),
            sockets: Mutex::default(),
            restarts: Mutex::default(),
            stale: AtomicBool::new(true),
        };
        hub.read().await?;
        Ok(Arc::new(hub))
    }

    async fn read(&self) -> Result<(), StoreError> {
        let damaged = |what: &str, why: &dyn std::fmt::Display| {
            StoreError::Other(format!("{}: {what} cannot be read: {why}", self.store.path().display()))
        };
        let mut members = BTreeMap::new();
        for row in self.store.rows("SELECT uid, member, last_seen FROM agent", vec![]).await? {
            let uid: Uid = text(&row, "uid").parse().map_err(|why: String| damaged("an agent", &why))?;
            let mut member: Member =
                serde_json::from_str(&text(&row, "member")).map_err(|why| damaged(&format!("agent {uid}"), &why))?;
            member.agent.heard = member.agent.heard.max(maybe_int(&row, "last_seen"));
            members.insert(uid, member);
        }
        let rules = self.rules().await?;
        let mut stops = BTreeMap::new();
        for row in self.store.rows("SELECT hash, uid, why, at FROM stop", vec![]).await? {
            let (hash, uid) = (text(&row, "hash").parse(), text(&row, "uid").parse());
            let (Ok(hash), Ok(uid)) = (hash, uid) else { continue };
            stops.insert(hash, Stop { uid, why: text(&row, "why"), at: int(&row, "at") });
        }
        let proven = self.store.rows("SELECT hash FROM proven", vec![]).await?;
        let proven: BTreeSet<Hash> = proven.iter().filter_map(|row| text(row, "hash").parse().ok()).collect();

        let mut keys = Keys::default();
        for row in self.store.rows("SELECT hash, uid, enrolment, used FROM credential", vec![]).await? {
            let (Ok(hash), Ok(uid)) = (text(&row, "hash").parse(), text(&row, "uid").parse()) else { continue };
            let credential = Credential { uid, enrolment: maybe_int(&row, "enrolment"), used: int(&row, "used") == 1 };
            keys.credentials.insert(hash, credential);
            keys.of_agent.insert(uid, hash);
        }
        for row in self.store.rows("SELECT * FROM enrolment", vec![]).await? {
            let Ok(hash) = text(&row, "hash").parse() else { continue };
            let labels = serde_json::from_str(&text(&row, "labels")).map_err(|why| damaged("an enrolment", &why))?;
            let enrolment = Enrolment {
                id: int(&row, "id"),
                name: text(&row, "name"),
                uses_left: int(&row, "uses_left"),
                expires: int(&row, "expires"),
                labels,
            };
            keys.enrolments.insert(hash, enrolment);
        }
        let waiting = "SELECT id, uid FROM command WHERE kind = 'restart' AND delivered IS NULL";
        let restarts = self.store.rows(waiting, vec![]).await?;
        let restarts = restarts.iter().filter_map(|row| Some((text(row, "uid").parse().ok()?, int(row, "id"))));

        *locked(&self.restarts) = restarts.collect();
        {
            let mut known = self.keys.write().expect("nobody panics while holding this lock");
            keys.offered = std::mem::take(&mut known.offered);
            *known = keys;
        }
        *locked(&self.fleet) = Fleet::new(rules, members, stops, proven, now());
        self.stale.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// The assignment as it is kept.
    ///
    /// # Errors
    ///
    /// Errors of the database.
    pub async fn rules(&self) -> Result<Vec<Rule>, StoreError> {
        let sql = "SELECT a.selector, a.config, a.number, v.hash FROM assignment a \
                   LEFT JOIN version v ON v.config = a.config AND v.number = a.number ORDER BY a.position";
        let rows = self.store.rows(sql, vec![]).await?;
        Ok(rows
            .iter()
            .filter_map(|row| {
                let selector = text(row, "selector").parse().ok()?;
                let target = maybe_text(row, "config").and_then(|config| {
                    let hash = text(row, "hash").parse().ok()?;
                    Some(Target { config, version: int(row, "number"), hash })
                });
                Some(Rule { selector, target })
            })
            .collect())
    }

    /// Looks at the fleet. Nothing may wait in `look`.
    pub fn fleet<T>(&self, look: impl FnOnce(&Fleet) -> T) -> T {
        look(&locked(&self.fleet))
    }

    /// Takes in what happened. When this returns, all that follows is on disk, together with `more`.
    ///
    /// # Errors
    ///
    /// Nothing has happened then.
    pub async fn tell(&self, happened: Happened, more: Vec<Write>) -> Result<(), StoreError> {
        if self.stale.load(Ordering::SeqCst) {
            self.read().await?;
        }
        let (ticket, offers) = {
            let mut fleet = locked(&self.fleet);
            let (writes, offers) = self.follow(&mut fleet, happened, more);
            // In the queue before the lock is given back, so that what is kept has the order of what happened.
            (if writes.is_empty() { None } else { Some(self.store.writer().enqueue(writes)) }, offers)
        };
        if let Some(ticket) = ticket
            && let Err(error) = ticket.done().await
        {
            self.stale.store(true, Ordering::SeqCst);
            if let Err(also) = self.read().await {
                tracing::error!("cannot read the database anew: {also}");
            }
            return Err(error);
        }
        for uid in offers {
            self.push(uid, Push::Look);
        }
        Ok(())
    }

    fn follow(&self, fleet: &mut Fleet, happened: Happened, more: Vec<Write>) -> (Vec<Write>, Vec<Uid>) {
        let at = now();
        let (mut writes, mut kept, mut offers) = (Vec::new(), BTreeSet::new(), Vec::new());
        for action in fleet.on(happened, at) {
            match action {
                Action::Keep { uid } => _ = kept.insert(uid),
                Action::Remove { uid } => {
                    kept.remove(&uid);
                    writes.push(write("DELETE FROM agent WHERE uid = $1", [uid.to_string().into()]));
                }
                Action::Offer { uid } => offers.push(uid),
                Action::Event { uid, event } => {
                    writes.push(event_row(uid, at, event.name, event.severity.word(), &event.text, "hub"));
                }
                Action::Stopped { hash, stop } => writes.push(write(
                    "INSERT INTO stop (hash, uid, why, at) VALUES ($1, $2, $3, $4) \
                     ON CONFLICT (hash) DO UPDATE SET uid = excluded.uid, why = excluded.why, at = excluded.at",
                    [hash.to_string().into(), stop.uid.to_string().into(), stop.why.into(), stop.at.into()],
                )),
                Action::Lifted { hash } => {
                    writes.push(write("DELETE FROM stop WHERE hash = $1", [hash.to_string().into()]));
                }
                Action::Proven { hash } => writes.push(write(
                    "INSERT INTO proven (hash, at) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING",
                    [hash.to_string().into(), at.into()],
                )),
            }
        }
        for uid in kept {
            let Some(member) = fleet.member(uid) else { continue };
            let json = serde_json::to_string(member).expect("facts have no maps with other keys than texts");
            writes.push(write(
                "INSERT INTO agent (uid, member, last_seen) VALUES ($1, $2, $3) \
                 ON CONFLICT (uid) DO UPDATE SET member = excluded.member, last_seen = excluded.last_seen",
                [uid.to_string().into(), json.into(), member.agent.heard.into()],
            ));
        }
        // Rows of others refer to the agent's.
        writes.extend(more);
        (writes, offers)
    }

    /// Lets time pass, and keeps when each agent was heard last.
    ///
    /// # Errors
    ///
    /// Errors of the database.
    pub async fn tick(&self, keep_last_seen: bool) -> Result<(), StoreError> {
        self.tell(Happened::Tick, vec![]).await?;
        if !keep_last_seen {
            return Ok(());
        }
        let seen: Vec<_> = self.fleet(|fleet| {
            let members = fleet.members().iter();
            members.filter_map(|(uid, member)| Some((*uid, member.agent.heard?))).collect()
        });
        let sql = "UPDATE agent SET last_seen = $2 WHERE uid = $1 AND (last_seen IS NULL OR last_seen < $2)";
        self.store
            .write(seen.into_iter().map(|(uid, at)| write(sql, [uid.to_string().into(), at.into()])).collect())
            .await
    }

    /// Removes what is older than its time.
    ///
    /// # Errors
    ///
    /// Errors of the database.
    pub async fn clean(&self, keep_events: Millis) -> Result<(), StoreError> {
        const COMMANDS: Millis = 30 * 86_400_000;
        let at = now();
        self.store
            .write(vec![
                write("DELETE FROM event WHERE at < $1", [(at - keep_events).into()]),
                write("DELETE FROM command WHERE asked < $1", [(at - COMMANDS).into()]),
                write("DELETE FROM session WHERE expires < $1", [at.into()]),
                write("DELETE FROM token WHERE expires < $1", [at.into()]),
            ])
            .await
    }

    // --- who may talk ---

    fn keys(&self) -> std::sync::RwLockReadGuard<'_, Keys> {
        self.keys.read().expect("nobody panics while holding this lock")
    }

    fn keys_mut(&self) -> std::sync::RwLockWriteGuard<'_, Keys> {
        self.keys.write().expect("nobody panics while holding this lock")
    }

    /// Whose token this is. Tokens are found by their hash, so the time tells nothing about them.
    pub fn holder(&self, token: &str) -> Option<Holder> {
        let hash = sha256(token.as_bytes());
        let keys = self.keys();
        let agent = keys.credentials.get(&hash).map(|it| Holder::Agent(it.uid));
        agent.or_else(|| keys.enrolments.get(&hash).map(|it| Holder::Enrolment(it.id)))
    }

    /// Lets an agent in: by its own credential, or enrols it. Returns the credential that it is to use from now on.
    ///
    /// # Errors
    ///
    /// Why it is not let in.
    pub async fn admit(&self, holder: Holder, uid: Uid) -> Result<Option<String>, Refusal> {
        match holder {
            Holder::Agent(own) if own != uid => {
                Err(Refusal::Forbidden("this credential belongs to another instance uid; was the host cloned?"))
            }
            Holder::Agent(_) => {
                self.first_use(uid).await?;
                Ok(None)
            }
            Holder::Enrolment(id) => self.enrol(id, uid).await.map(Some),
        }
    }

    /// The first use of a credential ends the enrolment.
    async fn first_use(&self, uid: Uid) -> Result<(), StoreError> {
        let Some(hash) = ({
            let keys = self.keys();
            keys.of_agent.get(&uid).copied().filter(|hash| keys.credentials.get(hash).is_some_and(|it| !it.used))
        }) else {
            return Ok(());
        };
        self.store
            .write(vec![write("UPDATE credential SET used = 1 WHERE hash = $1", [hash.to_string().into()])])
            .await?;
        let mut keys = self.keys_mut();
        keys.offered.remove(&uid);
        if let Some(credential) = keys.credentials.get_mut(&hash) {
            credential.used = true;
        }
        Ok(())
    }

    async fn enrol(&self, id: i64, uid: Uid) -> Result<String, Refusal> {
        let at = now();
        let (enrolment, known, offered) = {
            let keys = self.keys();
            let enrolment = keys.enrolments.values().find(|it| it.id == id).cloned();
            let known = keys.of_agent.get(&uid).and_then(|hash| keys.credentials.get(hash)).cloned();
            (enrolment, known, keys.offered.get(&uid).cloned())
        };
        let Some(enrolment) = enrolment else { return Err(Refusal::Unauthorized("this token was revoked")) };
        let renewed = match &known {
            Some(known) if known.used => {
                let event = event_row(
                    Some(uid),
                    at,
                    "agent.cloned",
                    "error",
                    &format!("an agent with this uid came with enrolment token {}", enrolment.name),
                    "hub",
                );
                self.store.write(vec![event]).await?;
                return Err(Refusal::Forbidden(
                    "this instance uid has a credential already; forget the agent in the hub to let it enrol again",
                ));
            }
            Some(known) if known.enrolment != Some(id) => {
                return Err(Refusal::Forbidden("this instance uid was enrolled by another token"));
            }
            Some(_) => true,
            None => false,
        };
        if let (true, Some(offered)) = (renewed, offered) {
            return Ok(offered);
        }
        if !renewed && enrolment.expires <= at {
            return Err(Refusal::Unauthorized("this enrolment token has expired"));
        }
        if !renewed && enrolment.uses_left <= 0 {
            return Err(Refusal::Unauthorized("this enrolment token has no uses left"));
        }
        let credential = secret("agent");
        let hash = sha256(credential.as_bytes());
        let mut writes = vec![write(
            "INSERT INTO credential (hash, uid, enrolment, used, made) VALUES ($1, $2, $3, 0, $4) \
             ON CONFLICT (uid) DO UPDATE SET hash = excluded.hash, made = excluded.made",
            [hash.to_string().into(), uid.to_string().into(), id.into(), at.into()],
        )];
        if !renewed {
            let use_up = "UPDATE enrolment SET uses_left = uses_left - 1 WHERE id = $1 AND uses_left > 0";
            writes.push(write(use_up, [id.into()]).must_change());
            let words = format!("was enrolled by token {}", enrolment.name);
            writes.push(event_row(Some(uid), at, "agent.enrolled", "info", &words, "hub"));
        }
        match self.tell(Happened::Enrolled { uid, set: enrolment.labels.clone() }, writes).await {
            Ok(()) => {}
            Err(StoreError::Conflict) => return Err(Refusal::Unauthorized("this enrolment token has no uses left")),
            Err(error) => return Err(error.into()),
        }
        let mut keys = self.keys_mut();
        if let Some(old) = keys.of_agent.insert(uid, hash) {
            keys.credentials.remove(&old);
        }
        keys.credentials.insert(hash, Credential { uid, enrolment: Some(id), used: false });
        keys.offered.insert(uid, credential.clone());
        if !renewed && let Some(enrolment) = keys.enrolments.values_mut().find(|it| it.id == id) {
            enrolment.uses_left -= 1;
        }
        Ok(credential)
    }

    /// Whether this holder may speak for an agent that it has not introduced in this message: reports come with the
    /// enrolment token where the settings have nothing else.
    pub fn may_report(&self, holder: Holder, uid: Uid) -> bool {
        match holder {
            Holder::Agent(own) => own == uid,
            Holder::Enrolment(id) => {
                let keys = self.keys();
                let hash = keys.of_agent.get(&uid);
                hash.and_then(|hash| keys.credentials.get(hash)).is_some_and(|it| it.enrolment == Some(id))
            }
        }
    }

    /// Makes an enrolment token and returns it; only its hash is kept.
    ///
    /// # Errors
    ///
    /// A name that is there already; errors of the database.
    pub async fn make_enrolment(
        &self,
        name: &str,
        uses: i64,
        expires: Millis,
        labels: Labels,
        who: &str,
        audit: Write,
    ) -> Result<(Enrolment, String), StoreError> {
        let (id, token) = (next_id(), secret("enrol"));
        let hash = sha256(token.as_bytes());
        let json = serde_json::to_string(&labels).expect("labels are texts");
        let row = write(
            "INSERT INTO enrolment (id, name, hash, uses_left, expires, labels, who, made) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            [
                id.into(),
                name.into(),
                hash.to_string().into(),
                uses.into(),
                expires.into(),
                json.into(),
                who.into(),
                now().into(),
            ],
        );
        self.store.write(vec![row, audit]).await?;
        let enrolment = Enrolment { id, name: name.to_owned(), uses_left: uses, expires, labels };
        self.keys_mut().enrolments.insert(hash, enrolment.clone());
        Ok((enrolment, token))
    }

    /// Ends an enrolment token. Its agents keep their credentials.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] if there is none; errors of the database.
    pub async fn revoke_enrolment(&self, name: &str, audit: Write) -> Result<(), StoreError> {
        let delete = write("DELETE FROM enrolment WHERE name = $1", [name.into()]).must_change();
        self.store.write(vec![delete, audit]).await?;
        self.keys_mut().enrolments.retain(|_, enrolment| enrolment.name != name);
        Ok(())
    }

    /// The enrolment tokens.
    pub fn enrolments(&self) -> Vec<Enrolment> {
        let mut all: Vec<_> = self.keys().enrolments.values().cloned().collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// Makes an agent with a credential of its own, for protocols that cannot be given one.
    ///
    /// # Errors
    ///
    /// Errors of the database.
    pub async fn make_agent(
        &self,
        name: Option<String>,
        set: Labels,
        audit: Write,
    ) -> Result<(Uid, String), StoreError> {
        // A UUID of version 4.
        let mut bytes = crate::clock::random();
        (bytes[6], bytes[8]) = (bytes[6] & 0x0f | 0x40, bytes[8] & 0x3f | 0x80);
        let (uid, token) = (Uid(bytes), secret("agent"));
        let hash = sha256(token.as_bytes());
        let row = write(
            "INSERT INTO credential (hash, uid, enrolment, used, made) VALUES ($1, $2, NULL, 1, $3)",
            [hash.to_string().into(), uid.to_string().into(), now().into()],
        );
        self.tell(Happened::Enrolled { uid, set: set.clone() }, vec![row, audit]).await?;
        if name.is_some() {
            self.tell(Happened::Labelled { uid, set, name }, vec![]).await?;
        }
        let mut keys = self.keys_mut();
        keys.of_agent.insert(uid, hash);
        keys.credentials.insert(hash, Credential { uid, enrolment: None, used: true });
        Ok((uid, token))
    }

    /// Removes an agent and its credential. A standing connection ends.
    ///
    /// # Errors
    ///
    /// Errors of the database.
    pub async fn forget(&self, uid: Uid, audit: Write) -> Result<(), StoreError> {
        self.tell(Happened::Forgotten { uid }, vec![audit]).await?;
        {
            let mut keys = self.keys_mut();
            if let Some(hash) = keys.of_agent.remove(&uid) {
                keys.credentials.remove(&hash);
            }
            keys.offered.remove(&uid);
        }
        locked(&self.restarts).remove(&uid);
        self.push(uid, Push::Close);
        Ok(())
    }

    // --- standing connections and commands ---

    /// Registers a standing connection. An older one of the same agent ends.
    pub fn connected(&self, uid: Uid) -> mpsc::UnboundedReceiver<Push> {
        let (sender, receiver) = mpsc::unbounded_channel();
        if let Some(old) = locked(&self.sockets).insert(uid, sender) {
            _ = old.send(Push::Close);
        }
        receiver
    }

    fn push(&self, uid: Uid, push: Push) {
        let mut sockets = locked(&self.sockets);
        if sockets.get(&uid).is_some_and(|socket| socket.send(push).is_err()) {
            sockets.remove(&uid);
        }
    }

    /// Asks for a restart of a collector, delivered with the agent's next message.
    ///
    /// # Errors
    ///
    /// Errors of the database.
    pub async fn ask_restart(&self, uid: Uid, who: &str, audit: Write) -> Result<(), StoreError> {
        let (id, at) = (next_id(), now());
        let words = format!("{who} asked for a restart of the collector");
        self.store
            .write(vec![
                write(
                    "INSERT INTO command (id, uid, kind, who, asked) VALUES ($1, $2, 'restart', $3, $4)",
                    [id.into(), uid.to_string().into(), who.into(), at.into()],
                ),
                event_row(Some(uid), at, "command.restart", "info", &words, "person"),
                audit,
            ])
            .await?;
        locked(&self.restarts).insert(uid, id);
        self.push(uid, Push::Look);
        Ok(())
    }

    /// Takes the restart that waits for an agent. It is delivered at most once: a lost one is asked for again by a person.
    ///
    /// # Errors
    ///
    /// Errors of the database.
    pub async fn take_restart(&self, uid: Uid) -> Result<bool, StoreError> {
        let Some(id) = locked(&self.restarts).remove(&uid) else { return Ok(false) };
        let delivered = write(
            "UPDATE command SET delivered = $3 WHERE uid = $1 AND id <= $2 AND delivered IS NULL",
            [uid.to_string().into(), id.into(), now().into()],
        );
        match self.store.write(vec![delivered]).await {
            Ok(()) => Ok(true),
            Err(error) => {
                locked(&self.restarts).insert(uid, id);
                Err(error)
            }
        }
    }

    /// The text of a config and its signature.
    ///
    /// # Errors
    ///
    /// Errors of the database.
    pub async fn text_of(&self, hash: Hash) -> Result<Option<(String, Option<String>)>, StoreError> {
        // The version that is signed, if the same text has several.
        let sql = "SELECT body, signature FROM version WHERE hash = $1 ORDER BY signature IS NULL, at DESC LIMIT 1";
        let row = self.store.row(sql, vec![hash.to_string().into()]).await?;
        Ok(row.map(|row| (text(&row, "body"), maybe_text(&row, "signature"))))
    }
}

/// A row of the timeline.
pub fn event_row(uid: Option<Uid>, at: Millis, name: &str, severity: &str, words: &str, source: &str) -> Write {
    /// The longest text of an event, in bytes: agents repeat what collectors print.
    const MAX: usize = 4096;
    let words = &words[..words.floor_char_boundary(MAX)];
    write(
        "INSERT INTO event (id, uid, at, name, severity, text, source) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        [
            next_id().into(),
            uid.map(|uid| uid.to_string()).into(),
            at.into(),
            name.into(),
            severity.into(),
            words.into(),
            source.into(),
        ],
    )
}

/// A row of the audit log.
pub fn audit_row(who: &str, origin: &str, action: &str, object: &str, detail: &str) -> Write {
    write(
        "INSERT INTO audit (id, at, who, origin, action, object, detail) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        [next_id().into(), now().into(), who.into(), origin.into(), action.into(), object.into(), detail.into()],
    )
}
