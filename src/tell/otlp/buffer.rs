//! Points and records, kept until the server has accepted them: in bounded memory, the oldest are dropped first, each
//! loss is counted.
//!
//! Each kind of telemetry has a share of the memory ([`Share`]), so that many interfaces, file systems or containers
//! never cost CPU, memory, disks or events.
//!
//! A snapshot is kept as numbers of series with values. A series (metric, attributes, start) is kept once for all
//! snapshots that have it. With 500 snapshots of 60 points, each point takes 8 bytes where OTLP takes 81: a test has
//! the numbers. The limit counts the bytes requested from the allocator; 8 MiB of them were 9.4 MiB of memory (x86_64,
//! glibc).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use prost::bytes::Buf as _;
use prost::encoding::{decode_varint, encode_varint};

use super::batch::{self, DataPoint, Encoder};
use otelet_core::telemetry::{Metric, Number, Owner, Point};
use otelet_core::units::{counted, format_size};
use otelet_wire::status::ExportLosses;

/// The largest request, in bytes. A little more is possible, since names of metrics are counted in steps.
pub const BATCH: usize = 256 * 1024;

/// The smaller requests after one that was too large, before a larger one is tried.
const SMALLER_BATCHES: u32 = 64;

/// The size of a kept snapshot or record beside its content, including the allocator's overhead, in bytes.
const ITEM: usize = 64;

/// The same for a series: its entry in the table, and its node in a tree.
const SERIES: usize = 144;

/// The shares are in sixteenths of the limit.
const WHOLE: usize = 16;

/// The share of all series together. The rest is for events, and for the values of one time, which take less than a
/// twentieth of their series.
const ALL_SERIES: usize = 13;

/// The share that metrics leave to events.
const EVENTS: usize = 2;

/// The least time between two lines about lost data.
const QUIET: Duration = Duration::from_secs(60 * 60);

/// Metrics that share a part of the memory. Its series are bounded before a point is kept: what does not fit is left
/// out of each sample, and the series that are kept already go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Share {
    /// CPU, memory, processes, checks and the agent itself: what the other shares leave, at least 2 sixteenths.
    Essential,
    Disks,
    Interfaces,
    FileSystems,
    Containers,
}

impl Share {
    const ALL: [Self; 5] = [Self::Essential, Self::Disks, Self::Interfaces, Self::FileSystems, Self::Containers];

    fn of(metric: &Metric) -> Self {
        match metric.name {
            name if name.starts_with("system.disk.") => Self::Disks,
            name if name.starts_with("system.network.") => Self::Interfaces,
            name if name.starts_with("system.filesystem.") => Self::FileSystems,
            _ if metric.owner == Owner::Containers => Self::Containers,
            _ => Self::Essential,
        }
    }

    /// The most memory for its series, in sixteenths of the limit.
    fn most(self) -> usize {
        match self {
            Self::Essential => ALL_SERIES,
            Self::Disks => 3,
            Self::Interfaces | Self::FileSystems => 2,
            Self::Containers => 4,
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Essential => "the host, the agent and checks",
            Self::Disks => "disks",
            Self::Interfaces => "network interfaces",
            Self::FileSystems => "file systems",
            Self::Containers => "containers",
        }
    }
}

/// The two kinds of telemetry that are exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Metrics,
    Logs,
}

/// The outcome of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The server accepted it.
    Taken {
        /// The number of points or records that the server rejected.
        rejected: u64,
    },
    /// The server will never accept it.
    Refused,
    /// The server may accept it later.
    Kept,
}

/// A request to send.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The request, in protobuf.
    pub body: Vec<u8>,
    /// Its size, in bytes.
    pub size: usize,
    /// The number of points or records in it.
    pub count: u64,
}

/// Points and records that wait to be exported.
#[derive(Debug)]
pub struct Buffer {
    limit: usize,
    used: usize,
    series: SeriesTable,
    metrics: Queue,
    logs: Queue,
    next: u64,
    losses: ExportLosses,
    /// The points of one sample that were left out, and the bytes of their series, by share. Zero once all of them fit.
    left_out: [(u64, usize); Share::ALL.len()],
    /// The losses of points and records when they were logged last, and that time.
    logged: Option<(u64, Instant)>,
    /// The size of a request: [`BATCH`], or less for a server that has found one too large.
    batch: usize,
    /// The smaller requests that it has taken since.
    taken: u32,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Item>,
    /// The bytes of its items, without series.
    used: usize,
    /// The number of points or records in them.
    count: u64,
    /// The first item after the batch that is being sent.
    batch_end: Option<u64>,
    /// Points or records that were dropped from the batch that is being sent. They are lost only if it is not accepted.
    dropped_from_batch: u64,
}

#[derive(Debug)]
struct Item {
    /// A number that counts up over both queues.
    number: u64,
    /// The time of a snapshot, in nanoseconds since 1970.
    time: u64,
    /// The number of points, or 1 for a record.
    count: u32,
    /// A packed snapshot or an encoded record.
    bytes: Box<[u8]>,
}

impl Buffer {
    /// An empty buffer with a limit in bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            used: 0,
            series: SeriesTable::default(),
            metrics: Queue::default(),
            logs: Queue::default(),
            next: 0,
            losses: ExportLosses::default(),
            left_out: Default::default(),
            logged: None,
            batch: BATCH,
            taken: 0,
        }
    }

    /// Changes the limit.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.make_room();
    }

    /// Keeps the points of one time, as far as their series fit into their shares. A time with many points becomes
    /// several items, so that no request is larger than `BATCH`.
    pub fn keep_points<'a>(&mut self, at: SystemTime, points: impl Iterator<Item = &'a Point>) {
        let time = batch::nanos(at);
        let (mut packed, mut count, mut last, mut size) = (Vec::new(), 0, 0, 0);
        let (mut left_out, mut seen) = ([(0, 0); Share::ALL.len()], [false; Share::ALL.len()]);
        for point in points {
            let share = Share::of(point.metric);
            seen[share as usize] = true;
            let (series, grown) = match self.take_series(point, share, time) {
                Ok(taken) => taken,
                Err(cost) => {
                    let left_out = &mut left_out[share as usize];
                    *left_out = (left_out.0 + 1, left_out.1 + cost);
                    continue;
                }
            };
            self.used += grown;
            let Series { metric, attributes, start } = self.series.get(series);
            size += DataPoint { metric, attributes, start: *start, time, value: point.value }.cost();
            pack(&mut packed, last, series, point.value);
            (last, count) = (series, count + 1);
            if size > BATCH / 2 {
                self.keep(Signal::Metrics, time, count, std::mem::take(&mut packed));
                (count, last, size) = (0, 0, 0);
            }
        }
        if count > 0 {
            self.keep(Signal::Metrics, time, count, packed);
        }
        self.losses.dropped_points += left_out.iter().map(|(points, _)| points).sum::<u64>();
        for (share, lost) in left_out.into_iter().enumerate().filter(|(share, _)| seen[*share]) {
            self.left_out[share] = lost;
        }
    }

    /// The series of a point, and the bytes by which the table grew; or the bytes for which there is no room. Older
    /// samples make room for the essential ones, whose series change when a process starts anew.
    fn take_series(&mut self, point: &Point, share: Share, time: u64) -> Result<(u32, usize), usize> {
        loop {
            let taken = self.series.take(point, share, self.limit);
            let older = share == Share::Essential && self.metrics.items.front().is_some_and(|item| item.time < time);
            if taken.is_ok() || !older || point.metric.owner == Owner::Agent && self.begins_with_the_last_of_the_host()
            {
                return taken;
            }
            self.drop_oldest(Signal::Metrics);
        }
    }

    /// Whether the oldest sample is the only one of the host: the agent's own metrics are no reason to lose it.
    fn begins_with_the_last_of_the_host(&self) -> bool {
        let mut is_host = self.metrics.items.iter().map(|item| {
            let first = unpack(&item.bytes).next();
            first.is_some_and(|(series, _)| self.series.get(series).metric.owner == Owner::Host)
        });
        is_host.next() == Some(true) && !is_host.any(|it| it)
    }

    /// Keeps a record that [`batch::record`] encoded.
    pub fn keep_record(&mut self, record: Vec<u8>) {
        self.keep(Signal::Logs, 0, 1, record);
    }

    fn keep(&mut self, signal: Signal, time: u64, count: u32, bytes: Vec<u8>) {
        let item = Item { number: self.next, time, count, bytes: bytes.into() };
        self.next += 1;
        let size = item.size();
        self.used += size;
        let queue = self.queue(signal);
        queue.used += size;
        queue.items.push_back(item);
        queue.count += u64::from(count);
        self.make_room();
    }

    /// Drops the oldest items until the rest fits: of events if they take more than their share, else of metrics.
    fn make_room(&mut self) {
        while self.used > self.limit {
            let signal = match (self.metrics.items.is_empty(), self.logs.items.is_empty()) {
                (true, true) => return,
                (false, true) => Signal::Metrics,
                (true, false) => Signal::Logs,
                (false, false) if self.logs.used > self.limit / WHOLE * EVENTS => Signal::Logs,
                (false, false) => Signal::Metrics,
            };
            self.drop_oldest(signal);
        }
    }

    fn drop_oldest(&mut self, signal: Signal) {
        let Some(item) = self.pop(signal) else { return };
        let queue = self.queue(signal);
        match queue.batch_end {
            Some(end) if item.number < end => queue.dropped_from_batch += u64::from(item.count),
            Some(_) | None => self.count_dropped(signal, u64::from(item.count)),
        }
    }

    /// The next request, made of the oldest items; none if the buffer is empty. The items stay until
    /// [`settle`](Self::settle).
    pub fn batch(&mut self, signal: Signal, encoder: &Encoder) -> Option<Batch> {
        let (body, count, end) = match signal {
            Signal::Metrics => {
                let (points, end) = self.points()?;
                let count = points.len() as u64;
                (encoder.metrics(points), count, end)
            }
            Signal::Logs => {
                let mut left = self.batch;
                let fits = |item: &&Item| {
                    let first = left == self.batch;
                    left = left.saturating_sub(item.bytes.len() + 8);
                    first || left > 0
                };
                let count = self.logs.items.iter().take_while(fits).count();
                let end = self.logs.items.get(count.checked_sub(1)?)?.number + 1;
                (encoder.logs(self.logs.items.iter().take(count).map(|item| &*item.bytes)), count as u64, end)
            }
        };
        let queue = self.queue(signal);
        (queue.batch_end, queue.dropped_from_batch) = (Some(end), 0);
        Some(Batch { size: body.len(), body, count })
    }

    /// The points of the oldest snapshots that fit into one request, and the first number beyond them.
    fn points(&self) -> Option<(Vec<DataPoint<'_>>, u64)> {
        let (mut points, mut seen, mut size, mut end) = (Vec::new(), BTreeSet::new(), 0, None);
        for item in &self.metrics.items {
            let from = points.len();
            for (series, value) in unpack(&item.bytes) {
                let Series { metric, attributes, start } = self.series.get(series);
                let point = DataPoint { metric, attributes, start: *start, time: item.time, value };
                size += point.cost();
                if seen.insert(std::ptr::from_ref(point.metric).addr()) {
                    size += batch::metric_cost(metric);
                }
                points.push(point);
            }
            if size > self.batch && end.is_some() {
                points.truncate(from);
                break;
            }
            end = Some(item.number + 1);
        }
        Some((points, end?))
    }

    /// A smaller request instead of the last one, which was too large for the server. None if it was one item, so that
    /// no smaller one can be made.
    pub fn smaller(&mut self, signal: Signal, last: &Batch, encoder: &Encoder) -> Option<Batch> {
        let end = self.queue(signal).batch_end?;
        if self.queue(signal).items.front().is_none_or(|item| item.number + 1 >= end) {
            return None;
        }
        self.settle(signal, last.count, Outcome::Kept);
        (self.batch, self.taken) = (last.size / 2, 0);
        self.batch(signal, encoder)
    }

    /// Removes or keeps the last batch, depending on its outcome.
    pub fn settle(&mut self, signal: Signal, count: u64, outcome: Outcome) {
        let queue = self.queue(signal);
        let (end, dropped) = (queue.batch_end.take().unwrap_or(0), std::mem::take(&mut queue.dropped_from_batch));
        let refused = match outcome {
            Outcome::Kept => return self.count_dropped(signal, dropped),
            Outcome::Taken { rejected } => {
                // One refusal is not for ever: a larger request is tried again after some smaller ones.
                self.taken += 1;
                if self.taken >= SMALLER_BATCHES {
                    (self.batch, self.taken) = ((self.batch * 2).min(BATCH), 0);
                }
                rejected.min(count)
            }
            Outcome::Refused => count,
        };
        match signal {
            Signal::Metrics => self.losses.refused_points += refused,
            Signal::Logs => self.losses.refused_records += refused,
        }
        while self.queue(signal).items.front().is_some_and(|item| item.number < end) {
            self.pop(signal);
        }
    }

    /// Forgets a signal that has no destination. That is not counted as a loss.
    pub fn discard(&mut self, signal: Signal) {
        while self.pop(signal).is_some() {}
    }

    pub fn is_empty(&self) -> bool {
        self.metrics.items.is_empty() && self.logs.items.is_empty()
    }

    /// The bytes in use.
    pub fn used(&self) -> usize {
        self.used
    }

    /// The numbers of points and of records that wait.
    pub fn waiting(&self) -> (u64, u64) {
        (self.metrics.count, self.logs.count)
    }

    /// All losses so far.
    pub fn losses(&self) -> ExportLosses {
        self.losses
    }

    /// A line for the log if points or records were lost since the last one, at most once an hour.
    pub fn complaint(&mut self, now: Instant) -> Option<String> {
        let ExportLosses { dropped_points, dropped_records, .. } = self.losses;
        let lost = dropped_points + dropped_records;
        let new = match self.logged {
            Some((logged, at)) => lost > logged && now.saturating_duration_since(at) >= QUIET,
            None => lost > 0,
        };
        if !new {
            return None;
        }
        self.logged = Some((lost, now));
        let limit = format_size(self.limit as u64);
        let mut left_out = Vec::new();
        let mut enough = self.limit;
        for share in Share::ALL {
            let (points, bytes) = self.left_out[share as usize];
            if points > 0 {
                left_out.push(format!("{} of {}", counted(points, "point"), share.noun()));
                enough = enough.max((self.series.most_used[share as usize] + bytes) / share.most() * WHOLE);
            }
        }
        let enough = format_size((enough + 1).next_power_of_two() as u64);
        Some(match left_out.is_empty() {
            false => format!(
                "export.buffer ({limit}) is too small for all that is measured here: {} are left out of each sample, \
                 and the rest is exported; export.buffer: {enough} takes all",
                left_out.join(", ")
            ),
            true => format!(
                "export.buffer ({limit}) is full: {} and {} were dropped so far, the oldest first; a larger \
                 export.buffer lasts longer",
                counted(dropped_points, "point"),
                counted(dropped_records, "event"),
            ),
        })
    }

    fn count_dropped(&mut self, signal: Signal, count: u64) {
        match signal {
            Signal::Metrics => self.losses.dropped_points += count,
            Signal::Logs => self.losses.dropped_records += count,
        }
    }

    fn queue(&mut self, signal: Signal) -> &mut Queue {
        match signal {
            Signal::Metrics => &mut self.metrics,
            Signal::Logs => &mut self.logs,
        }
    }

    fn pop(&mut self, signal: Signal) -> Option<Item> {
        let queue = self.queue(signal);
        let item = queue.items.pop_front()?;
        queue.count -= u64::from(item.count);
        if queue.items.is_empty() {
            // After an outage, the memory for its items is given back.
            queue.items.shrink_to(16);
        }
        queue.used -= item.size();
        self.used -= item.size();
        if signal == Signal::Metrics {
            for (series, _) in unpack(&item.bytes) {
                self.used -= self.series.release(series);
            }
        }
        Some(item)
    }
}

impl Item {
    fn size(&self) -> usize {
        ITEM + self.bytes.len()
    }
}

/// A metric with its attributes and start, shared by points.
#[derive(Debug)]
struct Series {
    metric: &'static Metric,
    start: u64,
    /// The result of [`batch::attributes`].
    attributes: Box<[u8]>,
}

impl Series {
    fn key(&self) -> (usize, u64, &[u8]) {
        (std::ptr::from_ref(self.metric).addr(), self.start, &self.attributes)
    }

    fn cost(&self) -> usize {
        SERIES + self.attributes.len()
    }
}

impl PartialEq for Series {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Series {}

impl PartialOrd for Series {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Series {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// The series of all kept snapshots, by number. A series is removed with its last snapshot.
#[derive(Debug, Default)]
struct SeriesTable {
    numbers: BTreeMap<Arc<Series>, u32>,
    /// Each series with the number of its kept points.
    entries: Vec<Option<(Arc<Series>, u32)>>,
    free: Vec<u32>,
    /// The bytes of the series in each share.
    used: [usize; Share::ALL.len()],
    /// The most that these bytes have been.
    most_used: [usize; Share::ALL.len()],
}

impl SeriesTable {
    /// Counts one more point of its series. Returns the number of the series, and the bytes by which the table grew.
    /// The bytes of a new series that does not fit into its share of `limit` bytes are the error.
    fn take(&mut self, point: &Point, share: Share, limit: usize) -> Result<(u32, usize), usize> {
        let start = point.start.map_or(0, batch::nanos);
        let attributes = batch::attributes(&point.attributes).into();
        let series = Series { metric: point.metric, start, attributes };
        if let Some(&number) = self.numbers.get(&series) {
            let entry = self.entries[number as usize].as_mut().expect("it has a number");
            entry.1 += 1;
            return Ok((number, 0));
        }
        let grown = series.cost();
        let fits = |used: usize, sixteenths: usize| used + grown <= limit / WHOLE * sixteenths;
        if !fits(self.used[share as usize], share.most()) || !fits(self.used.iter().sum(), ALL_SERIES) {
            return Err(grown);
        }
        let series = Arc::new(series);
        self.used[share as usize] += grown;
        self.most_used[share as usize] = self.most_used[share as usize].max(self.used[share as usize]);
        let number = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            (self.entries.len() - 1) as u32
        });
        self.entries[number as usize] = Some((series.clone(), 1));
        self.numbers.insert(series, number);
        Ok((number, grown))
    }

    /// Counts one point less. Returns the bytes that this frees.
    fn release(&mut self, number: u32) -> usize {
        let entry = &mut self.entries[number as usize];
        let (series, uses) = entry.as_mut().expect("a point that is kept has a series");
        *uses -= 1;
        if *uses > 0 {
            return 0;
        }
        let freed = series.cost();
        self.used[Share::of(series.metric) as usize] -= freed;
        self.numbers.remove(series);
        *entry = None;
        self.free.push(number);
        if self.numbers.is_empty() {
            *self = Self { most_used: self.most_used, ..Self::default() };
        }
        freed
    }

    fn get(&self, number: u32) -> &Series {
        &self.entries[number as usize].as_ref().expect("a point that is kept has a series").0
    }
}

/// Adds a point: the difference to the series number before it, and the value.
fn pack(packed: &mut Vec<u8>, last: u32, series: u32, value: Number) {
    let step = zigzag(i64::from(series) - i64::from(last)) << 1;
    match value {
        Number::Int(value) => {
            encode_varint(step, packed);
            encode_varint(zigzag(value), packed);
        }
        Number::Double(value) => {
            encode_varint(step | 1, packed);
            packed.extend(value.to_le_bytes());
        }
    }
}

/// The points that [`pack`] packed.
fn unpack(mut packed: &[u8]) -> impl Iterator<Item = (u32, Number)> {
    const PACKED: &str = "`pack` wrote it";
    let mut series = 0;
    std::iter::from_fn(move || {
        if packed.is_empty() {
            return None;
        }
        let step = decode_varint(&mut packed).expect(PACKED);
        series += unzigzag(step >> 1);
        let value = match step & 1 {
            0 => Number::Int(unzigzag(decode_varint(&mut packed).expect(PACKED))),
            _ => Number::Double(packed.get_f64_le()),
        };
        Some((series as u32, value))
    })
}

/// Maps small numbers of either sign to small numbers without sign.
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests;
