use std::time::Duration;

use prost::Message as _;

use super::*;
use otelet_core::telemetry::{EventRecord, Kind, Severity, Value};
use otelet_wire::otlp::{MetricsRequest, NumberDataPoint};

static LOAD: Metric =
    Metric { name: "load", unit: "1", kind: Kind::Gauge, owner: otelet_core::telemetry::Owner::Host, help: "A load." };
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

/// The points of a host: CPU and memory, then this many disks, file systems and interfaces.
fn host(second: u64, disks: usize, many: usize) -> Vec<Point> {
    use otelet_core::telemetry::host::{CPU_TIME, DISK_IO, FILESYSTEM_USAGE, MEMORY_USAGE, NETWORK_IO};
    let start = Some(at(1));
    let of = |metric, name: &'static str, number: usize| {
        let point = Point::new(metric, second * 1_000 + number as u64).with(name, format!("{name}-{number}"));
        point.with("state", "used").since(start)
    };
    let cpus = (0..64).map(|number| of(&CPU_TIME, "cpu", number));
    let memory = (0..6).map(|number| of(&MEMORY_USAGE, "state", number));
    let disks = (0..disks).map(|number| of(&DISK_IO, "device", number));
    let file_systems = (0..many).map(|number| of(&FILESYSTEM_USAGE, "mountpoint", number));
    let interfaces = (0..many).map(|number| of(&NETWORK_IO, "device", number));
    cpus.chain(memory).chain(disks).chain(file_systems).chain(interfaces).collect()
}

fn containers(second: u64, many: usize) -> Vec<Point> {
    let of = |number: usize| {
        let point = Point::new(&otelet_core::telemetry::containers::CPU_TIME, second as f64);
        point.with("container.id", format!("{number:064}")).with("container.name", format!("name-{number}"))
    };
    (0..many).map(of).collect()
}

#[test]
fn a_sample_larger_than_the_buffer_keeps_cpu_memory_disks_and_events() {
    for limit in [256 * 1024, 1 << 20] {
        let mut buffer = Buffer::new(limit);
        let encoder = encoder();
        let mut series = Vec::new();
        for second in 10..18 {
            buffer.keep_record(record("something happened"));
            buffer.keep_points(at(second), host(second, 40, 2_000).iter());
            buffer.keep_points(at(second), containers(second, 2_000).iter());
            assert!(buffer.used() <= limit, "{} of {limit}", buffer.used());
            if second < 14 {
                // An outage: nothing is accepted.
                continue;
            }
            let mut newest = BTreeMap::<String, usize>::new();
            while let Some(batch) = buffer.batch(Signal::Metrics, &encoder) {
                assert!(batch.body.len() <= BATCH + 1024, "{} bytes", batch.body.len());
                let request = MetricsRequest::decode(&*batch.body).unwrap();
                for metric in
                    request.resource_metrics.into_iter().flat_map(|it| it.scope_metrics).flat_map(|it| it.metrics)
                {
                    let gauge = metric.gauge.into_iter().flat_map(|gauge| gauge.data_points);
                    let points = gauge.chain(metric.sum.into_iter().flat_map(|sum| sum.data_points));
                    *newest.entry(metric.name).or_default() +=
                        points.filter(|point| point.time_unix_nano == second * 1_000_000_000).count();
                }
                buffer.settle(Signal::Metrics, batch.count, Outcome::Taken { rejected: 0 });
            }
            let names = ["system.cpu.time", "system.memory.usage", "system.disk.io"];
            assert_eq!(names.map(|name| newest[name]), [64, 6, 40], "limit {limit}");
            let names = ["system.filesystem.usage", "system.network.io", "container.cpu.time"];
            assert!(names.iter().all(|name| newest[*name] > 50), "{newest:?}");
            series.push(newest);
        }
        assert!(series.windows(2).all(|pair| pair[0] == pair[1]), "the same ones each time: {series:?}");
        let losses = buffer.losses();
        assert_eq!((losses.dropped_records, buffer.waiting().1), (0, 8));
        assert!(losses.dropped_points > 0);
    }
}

#[test]
fn more_disks_than_fit_cost_neither_cpu_nor_memory() {
    let mut buffer = Buffer::new(64 * 1024);
    buffer.keep_points(at(10), containers(10, 100).iter());
    for second in 11..20 {
        buffer.keep_points(at(second), host(second, 10_000, 0).iter());
        keep(&mut buffer, second);
    }
    let batch = buffer.batch(Signal::Metrics, &encoder()).unwrap();
    assert_eq!(
        (sent(&batch.body, "system.cpu.time").len(), sent(&batch.body, "system.memory.usage").len()),
        (9 * 64, 9 * 6)
    );
    assert_eq!(sent(&batch.body, "load").len(), 9, "nor what the agent says of itself");
    assert!(buffer.complaint(Instant::now()).unwrap().contains(" points of disks"));
}

#[test]
fn series_that_change_in_an_outage_make_room_by_the_oldest_samples() {
    let mut buffer = Buffer::new(64 * 1024);
    for second in 0..2_000 {
        let restarted = Point::new(&BYTES, second).since(Some(at(second)));
        buffer.keep_points(at(second), [restarted].iter());
    }
    let batch = buffer.batch(Signal::Metrics, &encoder()).unwrap();
    assert_eq!(sent(&batch.body, "bytes").last().unwrap().time_unix_nano, 1_999_000_000_000);
    assert_eq!(buffer.losses().dropped_points + batch.count, 2_000);
}

#[test]
fn many_events_do_not_cost_the_metrics() {
    let mut buffer = Buffer::new(64 * 1024);
    keep(&mut buffer, 10);
    (0..10_000).for_each(|_| buffer.keep_record(record(&"x".repeat(100))));
    assert_eq!(buffer.waiting().0, 3);
    (0..20_000).for_each(|second| keep(&mut buffer, second));
    assert!(buffer.waiting().1 > 20, "nor do metrics cost the events: {:?}", buffer.waiting());
}

#[test]
fn a_loss_is_said_with_the_number_and_the_setting_and_once_an_hour() {
    let mut buffer = Buffer::new(1 << 20);
    let (t0, minute) = (Instant::now(), Duration::from_secs(60));
    buffer.keep_points(at(10), host(10, 4, 10).iter());
    assert_eq!(buffer.complaint(t0), None);
    buffer.keep_points(at(11), host(11, 4, 2_000).iter());

    let said = buffer.complaint(t0).unwrap();

    assert!(said.starts_with("export.buffer (1MiB) is too small for all that is measured here: "), "{said}");
    assert!(said.contains(" points of network interfaces, ") && said.contains("export.buffer: 4MiB takes"), "{said}");
    let lines = (1..=150).filter(|passed| {
        buffer.keep_points(at(11 + passed), host(11, 4, 2_000).iter());
        buffer.complaint(t0 + minute * *passed as u32).is_some()
    });
    assert_eq!(lines.collect::<Vec<_>>(), [60, 120]);

    let mut enough = Buffer::new(4 << 20);
    enough.keep_points(at(11), host(11, 4, 2_000).iter());
    assert_eq!((enough.losses(), enough.complaint(t0)), (ExportLosses::default(), None));
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

#[test]
fn in_a_small_buffer_the_agents_own_metrics_do_not_cost_those_of_the_host() {
    static OWN: Metric =
        Metric { name: "own", unit: "1", kind: Kind::Gauge, owner: otelet_core::telemetry::Owner::Agent, help: "Own." };
    let mut buffer = Buffer::new(24 * 1024);
    let own: Vec<Point> = (0..60).map(|number| Point::new(&OWN, 1.0).with("number", format!("{number}"))).collect();
    for second in 10..20 {
        // The agent's own are measured just before each export.
        buffer.keep_points(at(2 * second), host(second, 0, 0).iter());
        buffer.keep_points(at(2 * second + 1), own.iter());
        if second < 14 {
            // An outage.
            continue;
        }
        let batch = buffer.batch(Signal::Metrics, &encoder()).unwrap();
        let of_now = |metric: &str| {
            sent(&batch.body, metric).iter().filter(|it| it.time_unix_nano == 2 * second * 1_000_000_000).count()
        };
        assert_eq!((of_now("system.cpu.time"), of_now("system.memory.usage")), (64, 6), "at {second}");
        let count = batch.count;
        buffer.settle(Signal::Metrics, count, Outcome::Taken { rejected: 0 });
    }
    let complaint = buffer.complaint(Instant::now()).unwrap();
    assert!(complaint.contains(" points of the host, the agent and checks"), "{complaint}");
}
