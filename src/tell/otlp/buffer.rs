//! Points and records, kept until the server has accepted them: in bounded memory, the oldest are dropped first, each
//! loss is counted.
//!
//! A snapshot is kept as numbers of series with values. A series (metric, attributes, start) is kept once for all
//! snapshots that have it. With 500 snapshots of 60 points, each point takes 8 bytes where OTLP takes 81: a test has
//! the numbers. The limit counts the bytes requested from the allocator; 8 MiB of them were 9.4 MiB of memory (x86_64,
//! glibc).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use prost::bytes::Buf as _;
use prost::encoding::{decode_varint, encode_varint};

use super::batch::{self, DataPoint, Encoder};
use otelet_core::telemetry::{Metric, Number, Point};
use otelet_wire::status::ExportLosses;

/// The largest request, in bytes, unless a single snapshot takes more.
pub const BATCH: usize = 256 * 1024;

/// The smaller requests after one that was too large, before a larger one is tried.
const SMALLER_BATCHES: u32 = 64;

/// The size of a kept snapshot or record beside its content, including the allocator's overhead, in bytes.
const ITEM: usize = 64;

/// The same for a series: its entry in the table, and its node in a tree.
const SERIES: usize = 144;

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
    /// The size of a request: [`BATCH`], or less for a server that has found one too large.
    batch: usize,
    /// The smaller requests that it has taken since.
    taken: u32,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Item>,
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
            batch: BATCH,
            taken: 0,
        }
    }

    /// Changes the limit.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.make_room();
    }

    /// Keeps the points of one time.
    pub fn keep_points<'a>(&mut self, at: SystemTime, points: impl Iterator<Item = &'a Point>) {
        let (mut packed, mut count, mut last) = (Vec::new(), 0, 0);
        for point in points {
            let (series, grown) = self.series.take(point);
            self.used += grown;
            pack(&mut packed, last, series, point.value);
            (last, count) = (series, count + 1);
        }
        if count > 0 {
            self.keep(Signal::Metrics, batch::nanos(at), count, packed);
        }
    }

    /// Keeps a record that [`batch::record`] encoded.
    pub fn keep_record(&mut self, record: Vec<u8>) {
        self.keep(Signal::Logs, 0, 1, record);
    }

    fn keep(&mut self, signal: Signal, time: u64, count: u32, bytes: Vec<u8>) {
        let item = Item { number: self.next, time, count, bytes: bytes.into() };
        self.next += 1;
        self.used += ITEM + item.bytes.len();
        let queue = self.queue(signal);
        queue.items.push_back(item);
        queue.count += u64::from(count);
        self.make_room();
    }

    /// Drops the oldest items until the rest fits.
    fn make_room(&mut self) {
        while self.used > self.limit {
            let number = |queue: &Queue| queue.items.front().map(|item| item.number);
            let signal = match (number(&self.metrics), number(&self.logs)) {
                (None, None) => return,
                (Some(_), None) => Signal::Metrics,
                (None, Some(_)) => Signal::Logs,
                (Some(metrics), Some(logs)) => {
                    if metrics < logs {
                        Signal::Metrics
                    } else {
                        Signal::Logs
                    }
                }
            };
            let item = self.pop(signal).expect("this queue is not empty");
            let queue = self.queue(signal);
            match queue.batch_end {
                Some(end) if item.number < end => queue.dropped_from_batch += u64::from(item.count),
                Some(_) | None => self.count_dropped(signal, u64::from(item.count)),
            }
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
        self.used -= ITEM + item.bytes.len();
        if signal == Signal::Metrics {
            for (series, _) in unpack(&item.bytes) {
                self.used -= self.series.release(series);
            }
        }
        Some(item)
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
}

impl SeriesTable {
    /// Counts one more point of its series. Returns the number of the series, and the bytes by which the table grew.
    fn take(&mut self, point: &Point) -> (u32, usize) {
        let start = point.start.map_or(0, batch::nanos);
        let attributes = batch::attributes(&point.attributes).into();
        let series = Series { metric: point.metric, start, attributes };
        if let Some(&number) = self.numbers.get(&series) {
            let entry = self.entries[number as usize].as_mut().expect("it has a number");
            entry.1 += 1;
            return (number, 0);
        }
        let series = Arc::new(series);
        let grown = series.cost();
        let number = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            (self.entries.len() - 1) as u32
        });
        self.entries[number as usize] = Some((series.clone(), 1));
        self.numbers.insert(series, number);
        (number, grown)
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
        self.numbers.remove(series);
        *entry = None;
        self.free.push(number);
        if self.numbers.is_empty() {
            *self = Self::default();
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
mod tests {
    use std::time::Duration;

    use prost::Message as _;

    use super::*;
    use otelet_core::telemetry::{EventRecord, Kind, Severity, Value};
    use otelet_wire::otlp::{MetricsRequest, NumberDataPoint};

    static LOAD: Metric = Metric {
        name: "load",
        unit: "1",
        kind: Kind::Gauge,
        owner: otelet_core::telemetry::Owner::Host,
        help: "A load.",
    };
    static BYTES: Metric = Metric {
        name: "bytes",
        unit: "By",
        kind: Kind::Counter,
        owner: otelet_core::telemetry::Owner::Host,
        help: "Some bytes.",
    };

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    fn points(second: u64) -> Vec<Point> {
        let start = Some(at(1));
        vec![
            Point::new(&BYTES, second * 1000).with("device", "eth0").since(start),
            Point::new(&BYTES, second * 10).with("device", "eth1").since(start),
            Point::new(&LOAD, second as f64 / 10.0),
        ]
    }

    fn keep(buffer: &mut Buffer, second: u64) {
        buffer.keep_points(at(second), points(second).iter());
    }

    fn record(text: &str) -> Vec<u8> {
        let record = EventRecord {
            at: at(1),
            severity: Severity::Info,
            event: "otelet.test",
            body: text.into(),
            attributes: Vec::new(),
        };
        batch::record(&record, str::to_owned, at(1))
    }

    fn encoder() -> Encoder {
        Encoder::new(&[("service.name".into(), "otelet".into())])
    }

    /// The points of one metric in a request.
    fn sent(body: &[u8], metric: &str) -> Vec<NumberDataPoint> {
        let request = MetricsRequest::decode(body).unwrap();
        let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
        let found = metrics.iter().find(|one| one.name == metric).unwrap();
        let gauge = found.gauge.iter().flat_map(|gauge| &gauge.data_points);
        gauge.chain(found.sum.iter().flat_map(|sum| &sum.data_points)).cloned().collect()
    }

    #[test]
    fn kept_points_are_sent_once_with_their_own_times() {
        let mut buffer = Buffer::new(1 << 20);
        (10..13).for_each(|second| keep(&mut buffer, second));

        let batch = buffer.batch(Signal::Metrics, &encoder()).unwrap();

        assert_eq!(batch.count, 9);
        let loads = sent(&batch.body, "load");
        let loads: Vec<_> = loads.iter().map(|point| (point.time_unix_nano / 1_000_000_000, point.as_double)).collect();
        assert_eq!(loads, [(10, Some(1.0)), (11, Some(1.1)), (12, Some(1.2))]);
        let bytes = sent(&batch.body, "bytes");
        assert_eq!(bytes.len(), 6);
        assert_eq!(bytes[0].as_int, Some(10_000));
        assert_eq!(bytes[0].start_time_unix_nano, 1_000_000_000);
        assert_eq!(bytes[0].attributes[0].value.as_ref().unwrap().string_value.as_deref(), Some("eth0"));

        // A point that is kept during the export is not part of the batch.
        keep(&mut buffer, 13);
        buffer.settle(Signal::Metrics, batch.count, Outcome::Taken { rejected: 0 });
        let rest = buffer.batch(Signal::Metrics, &encoder()).unwrap();
        assert_eq!(sent(&rest.body, "load").len(), 1);
        buffer.settle(Signal::Metrics, rest.count, Outcome::Taken { rejected: 2 });
        assert!(buffer.is_empty());
        assert_eq!(buffer.used(), 0, "nothing is left behind, no series either");
        assert_eq!(buffer.losses(), ExportLosses { refused_points: 2, ..ExportLosses::default() });
    }

    #[test]
    fn a_kept_batch_is_sent_again_and_a_refused_one_is_counted() {
        let mut buffer = Buffer::new(1 << 20);
        keep(&mut buffer, 10);
        let first = buffer.batch(Signal::Metrics, &encoder()).unwrap();
        buffer.settle(Signal::Metrics, first.count, Outcome::Kept);
        assert_eq!(buffer.batch(Signal::Metrics, &encoder()), Some(first.clone()));
        buffer.settle(Signal::Metrics, first.count, Outcome::Refused);
        assert_eq!(buffer.batch(Signal::Metrics, &encoder()), None);
        assert_eq!(buffer.losses(), ExportLosses { refused_points: 3, ..ExportLosses::default() });
    }

    #[test]
    fn the_oldest_items_are_dropped_and_counted_unless_they_were_accepted() {
        let mut buffer = Buffer::new(2_000);
        for second in 0..200 {
            keep(&mut buffer, second);
            buffer.keep_record(record("something happened"));
            assert!(buffer.used() <= 2_000);
        }
        let (points, records) = buffer.waiting();
        let losses = buffer.losses();
        assert_eq!((points + losses.dropped_points, records + losses.dropped_records), (600, 200));
        assert!(points > 3 && records > 1, "{points} points and {records} records wait");

        let out = buffer.batch(Signal::Metrics, &encoder()).unwrap();
        let newest = sent(&out.body, "load").last().unwrap().time_unix_nano;
        assert_eq!(newest, 199_000_000_000);
        // The whole batch is dropped during the export, and then it turns out that it arrived.
        (200..300).for_each(|second| keep(&mut buffer, second));
        let dropped = buffer.losses().dropped_points;
        buffer.settle(Signal::Metrics, out.count, Outcome::Taken { rejected: 0 });
        assert_eq!(buffer.losses().dropped_points, dropped);
        assert_eq!(dropped + buffer.waiting().0 + out.count, 900);

        // The same, but the batch did not arrive.
        let out = buffer.batch(Signal::Metrics, &encoder()).unwrap();
        (300..400).for_each(|second| keep(&mut buffer, second));
        buffer.settle(Signal::Metrics, out.count, Outcome::Kept);
        assert_eq!(buffer.losses().dropped_points + buffer.waiting().0 + points, 1200);
    }

    #[test]
    fn a_long_outage_is_sent_in_several_batches() {
        let mut buffer = Buffer::new(1 << 20);
        (0..4_000).for_each(|second| keep(&mut buffer, second));
        (0..3_000).for_each(|_| buffer.keep_record(record(&"x".repeat(100))));
        let mut times = Vec::new();
        while let Some(batch) = buffer.batch(Signal::Metrics, &encoder()) {
            assert!(batch.body.len() <= BATCH + 1024, "{} bytes", batch.body.len());
            times.extend(sent(&batch.body, "load").iter().map(|point| point.time_unix_nano / 1_000_000_000));
            buffer.settle(Signal::Metrics, batch.count, Outcome::Taken { rejected: 0 });
        }
        assert_eq!(times, (0..4_000).collect::<Vec<_>>());
        let mut records = 0;
        while let Some(batch) = buffer.batch(Signal::Logs, &encoder()) {
            assert!(batch.body.len() <= BATCH + 1024, "{} bytes", batch.body.len());
            records += batch.count;
            buffer.settle(Signal::Logs, batch.count, Outcome::Taken { rejected: 0 });
        }
        assert_eq!(records, 3_000);
        assert_eq!(buffer.used(), 0);
    }

    #[test]
    fn a_server_with_any_limit_gets_all_that_fits() {
        for limit in [400, 3_000, 20_000, 100_000] {
            let mut buffer = Buffer::new(1 << 20);
            (0..4_000).for_each(|second| keep(&mut buffer, second));
            let (mut times, mut refusals, mut accepted) = (Vec::new(), Vec::new(), 0);
            while let Some(mut batch) = buffer.batch(Signal::Metrics, &encoder()) {
                while batch.size > limit {
                    refusals.push(accepted);
                    batch = buffer.smaller(Signal::Metrics, &batch, &encoder()).expect("one snapshot fits");
                }
                accepted += 1;
                times.extend(sent(&batch.body, "load").iter().map(|point| point.time_unix_nano / 1_000_000_000));
                buffer.settle(Signal::Metrics, batch.count, Outcome::Taken { rejected: 0 });
            }
            assert_eq!(times, (0..4_000).collect::<Vec<_>>(), "each once, in order: {limit}");
            assert_eq!(buffer.losses(), ExportLosses::default());
            let later = refusals.iter().filter(|accepted| **accepted > 0).count();
            assert!(later <= accepted / SMALLER_BATCHES as usize, "{later} in {accepted}");
            assert!(accepted < 200 || later > 0, "a larger one is tried again: {limit}");
        }
        let mut buffer = Buffer::new(1 << 20);
        buffer.keep_record(record("alone"));
        let batch = buffer.batch(Signal::Logs, &encoder()).unwrap();
        assert_eq!(buffer.smaller(Signal::Logs, &batch, &encoder()), None, "one record cannot be halved");
        buffer.settle(Signal::Logs, batch.count, Outcome::Refused);
        assert_eq!(buffer.waiting(), (0, 0));
    }

    #[test]
    fn any_value_survives_packing() {
        let values = [0, 1, -1, i64::MAX, i64::MIN, 1 << 40].map(Number::Int);
        let values = values.into_iter().chain([0.0, -0.5, f64::MAX, f64::INFINITY].map(Number::Double));
        let points: Vec<_> = [0, 7, 3, u32::MAX, 0, 1].into_iter().cycle().zip(values).collect();
        let (mut packed, mut last) = (Vec::new(), 0);
        for (series, value) in &points {
            pack(&mut packed, last, *series, *value);
            last = *series;
        }
        assert_eq!(unpack(&packed).collect::<Vec<_>>(), points);
    }

    #[test]
    fn a_snapshot_of_a_host_takes_less_than_a_tenth_of_its_request() {
        // 60 series of 20 attribute sets, as a small host has.
        let snapshot: Vec<Point> = (0..60)
            .map(|number: i64| {
                let metric = if number % 3 == 0 { &LOAD } else { &BYTES };
                let value = if number % 3 == 0 { Number::Double(0.1) } else { Number::Int(number * 1_000_000) };
                let point = Point { metric, attributes: Vec::new(), start: Some(at(1)), value };
                point.with("network.interface.name", format!("eth{number}")).with("state", Value::from("used"))
            })
            .collect();
        let mut buffer = Buffer::new(1 << 20);
        (0..500).for_each(|second| buffer.keep_points(at(second), snapshot.iter()));
        let (kept, mut sent) = (buffer.used(), 0);
        while let Some(batch) = buffer.batch(Signal::Metrics, &encoder()) {
            sent += batch.body.len();
            buffer.settle(Signal::Metrics, batch.count, Outcome::Taken { rejected: 0 });
        }
        println!("{kept} bytes kept, {sent} sent: {} a point kept", kept as f64 / 30_000.0);
        assert_eq!(buffer.losses(), ExportLosses::default());
        assert!(kept * 10 < sent, "{kept} bytes kept, {sent} sent");
    }
}
