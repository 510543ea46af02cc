//! Which bodies are accepted and refused, and which values are read from them.

use std::thread;
use std::time::{Duration, Instant};

use serde_yaml::Value;

use super::walk::ID_LIMIT;
use super::*;

pub(super) const GOOD: &str = "\
receivers:
  otlp: {protocols: {http: {endpoint: 127.0.0.1:4318}}}
exporters:
  nop:
extensions:
  health_check: {endpoint: 127.0.0.1:13133, path: /health}
  file_storage: {directory: /tmp}
processors:
  transform:
    log_statements:
      - context: log
        statements:
          - set(attributes[\"it's\"], \"a [b\") where body != \"#\" # a 'comment' [
          - |-
            keep_keys(attributes, [\"x\", 'y
          - >2
              folded { text
service:
  extensions: [health_check, file_storage]
  telemetry: {metrics: {level: none}}
  pipelines:
    traces: {receivers: [otlp], exporters: [nop]}
";

pub(super) fn check(body: &str) -> Result<Inspection, Refusal> {
    inspect(body.as_bytes())
}

/// [`GOOD`] with one part replaced.
fn with(part: &str, other: &str) -> String {
    assert!(GOOD.contains(part), "{part}");
    GOOD.replacen(part, other, 1)
}

fn probed(settings: &str) -> Option<String> {
    let part = "health_check: {endpoint: 127.0.0.1:13133, path: /health}";
    let Endpoint { host, port, path } = check(&with(part, settings)).unwrap().health_check?;
    Some(format!("{host} {port} {path}"))
}

#[test]
fn the_values_for_the_overlay_are_read_from_a_good_body() {
    let (host, path) = ("127.0.0.1".to_owned(), "/health".to_owned());
    let expected = Inspection {
        has_pipelines: true,
        extensions: vec!["health_check".to_owned(), "file_storage".to_owned()],
        extensions_readable: true,
        health_check: Some(Endpoint { host, port: 13133, path }),
        has_sd_notify: false,
        has_telemetry_resource: false,
        service_name: None,
        default_metrics_reader: false,
        metrics: SignalPath::default(),
        logs: SignalPath::default(),
        engine: Vec::new(),
        rewired: Vec::new(),
        destination: Destination::Nowhere,
    };
    assert_eq!(check(GOOD), Ok(expected));
}

#[test]
fn it_is_known_of_a_config_whether_its_data_may_go_anywhere() {
    use Destination::{Chosen, Elsewhere, Nowhere};
    let of = |pipelines: &str| check(&format!("service: {{pipelines: {pipelines}}}")).unwrap().destination;
    let chosen = "'${env:OTELET_EXPORTER:-debug}'";
    for (pipelines, expected) in [
        ("{traces: {exporters: [debug]}}".to_owned(), Nowhere),
        (
            "{traces: {exporters: [debug/2, nop]}, metrics: {exporters: [file]}, logs: {exporters: [logging]}}".into(),
            Nowhere,
        ),
        ("{traces: {exporters: [debug]}, metrics/2: {exporters: [otlp]}}".into(), Elsewhere),
        ("{traces: {exporters: [spanmetrics]}, metrics: {exporters: [debug]}}".into(), Elsewhere),
        (format!("{{traces: {{exporters: [{chosen}]}}, logs: {{exporters: [debug]}}}}"), Chosen),
        (format!("{{traces: {{exporters: [{chosen}]}}, logs: {{exporters: [otlphttp]}}}}"), Elsewhere),
        ("{traces: {exporters: ['${env:MINE}']}}".into(), Elsewhere),
        // A list that cannot be read may have one.
        ("{traces: {exporters: '${env:MINE}'}}".into(), Elsewhere),
        ("{traces: {exporters: [debug]}, logs: {<<: {exporters: [otlp]}}}".into(), Elsewhere),
        ("{traces: {exporters: [debug]}, logs: }".into(), Elsewhere),
        ("{traces: {exporters: [{debug: }]}}".into(), Elsewhere),
        ("{}".into(), Elsewhere),
    ] {
        assert_eq!(of(&pipelines), expected, "{pipelines}");
    }
    let scattered = "service: {pipelines: {traces: {exporters: [debug]}}, <<: {}}";
    assert_eq!(check(scattered).unwrap().destination, Elsewhere);
}

#[test]
fn a_body_that_the_collector_accepts_is_accepted() {
    let json = r#"{"service":{"pipelines":{"traces":{"receivers":["otlp"]}}},"a":"\ud7ff\/"}"#;
    for body in [
        format!("\u{feff}{GOOD}"),
        GOOD.replace('\n', "\r\n"),
        GOOD.replace('\n', "\r"),
        with("service:", "service:\t# tab"),
        format!("---\n{GOOD}...\n"),
        format!("%YAML 1.1\n---\n{GOOD}"),
        format!("{GOOD}---\n"),
        format!("{GOOD}# \u{1f600} \u{a0}\n"),
        with("level: none", "level: !foo none"),
        with("level: none", "level: !!str none"),
        with("{metrics: {level: none}}", "\n    metrics: &a {level: none}\n    x: *a"),
        with("  pipelines:", "  pipelines: !foo"),
        json.to_owned(),
        "service: ${file:service.yaml}".to_owned(),
        "service: {pipelines: '${file:pipelines.yaml}'}".to_owned(),
        "service::pipelines::traces: {receivers: [otlp]}".to_owned(),
        "service: {<<: &x {pipelines: {traces: }}}".to_owned(),
    ] {
        assert_eq!(check(&body).err(), None, "{body}");
    }
}

#[test]
fn a_refusal_says_where_and_why() {
    let refused = |body: &[u8]| inspect(body).unwrap_err().to_string();

    for empty in ["", " \n\n", "# only this\n", "---\n", "~\n", "---\n...\n", "%YAML 1.1\n", "\u{feff}"] {
        assert_eq!(check(empty), Err(Refusal::Empty), "{empty:?}");
    }
    assert_eq!(refused(b""), "config is empty; an empty config never replaces a running one");
    for (body, form, more) in [
        (&b"\x1f\x8b\x08\0"[..], "gzip", ", or let the server say content-encoding: gzip"),
        (b"\x28\xb5\x2f\xfd\0", "zstd", ""),
        (b"PK\x03\x04", "zip", ""),
    ] {
        assert_eq!(refused(body), format!("config is compressed ({form}); store it as plain text{more}"));
    }
    assert_eq!(refused(b"a: 1\nb: \xe9\n"), "config is not UTF-8 at byte 8 (line 2); save it as UTF-8");
    assert_eq!(
        refused(b"a: 1\n# \x1b[31m\n"),
        "config has the control character U+001B on line 2; \
         YAML takes it only as an escape in double quotes"
    );
    assert_eq!(
        refused(format!("{GOOD}---\nb: 2\n").as_bytes()),
        "config has a second YAML document on line 23, which the collector would ignore; \
         join the two or remove the `---`"
    );
    for body in ["a: 1", "[]", "text", "{\"error\": \"unauthorized\"}", "0", "{}"] {
        assert_eq!(check(body), Err(Refusal::NotAConfig), "{body}");
    }
    for body in ["service: x", "service: [a]", "service: {pipelines: [a]}", "service: {pipelines: 1}"] {
        assert_eq!(check(body), Err(Refusal::NoPipelines), "{body}");
    }
    for body in [
        "exporters: {debug: }",
        "connectors:",
        "service:",
        "service: {}",
        "service: {pipelines: }",
        "service: {pipelines: {}}",
    ] {
        assert!(!check(body).unwrap().has_pipelines, "the collector decides: {body}");
    }
    assert!(check(GOOD).unwrap().has_pipelines);
    assert_eq!(
        Refusal::NoPipelines.to_string(),
        "config has no pipelines; `service.pipelines` must be a mapping with at least one, such as `traces:`"
    );
    assert_eq!(
        refused(b"a: ["),
        "config is not well-formed YAML: did not find expected node content at line 2 column 1, \
         while parsing a flow node"
    );
    assert!(
        refused(b"a:\n\tb: 1\n").contains("cannot start any token at line 2 column 1")
            && refused(b"a:\n  b:\n  \tc: 1\n").ends_with("; a tab indents the line: write spaces"),
        "{}",
        refused(b"a:\n\tb: 1\n")
    );
    assert_eq!(refused(b"a: *b\n"), "config is not well-formed YAML: unknown anchor at line 1 column 4");
    assert_eq!(refused(&vec![b'#'; BODY_LIMIT + 1]), "config is 67108865 bytes, the most taken is 67108864");
}

#[test]
fn extensions_are_repeated_only_if_they_can_be_read() {
    let readable = |part: &str, other: &str| check(&with(part, other)).unwrap().extensions_readable;
    let list = "[health_check, file_storage]";

    assert!(readable(list, ""));
    assert!(readable(list, "[]"));
    assert!(readable("  extensions: [health_check, file_storage]\n", ""));
    assert!(readable(list, "\n  - health_check\n  - 'file_storage'"));
    assert!(!readable(list, "${file:extensions.yaml}"));
    assert!(!readable(list, "[health_check, '${env:MORE}']"));
    assert!(!readable(list, "[health_check, 1]"));
    let nested = check(&with(list, "[health_check, [a]]")).unwrap_err().to_string();
    assert!(nested.contains("a list where a name is expected at line 19"), "{nested}");
    assert!(!readable(list, "{health_check: }"));
    assert!(!readable("service:\n", "service:\n  <<: {}\n"));
    assert!(!readable("service:\n", "service::telemetry: {}\nservice:\n"));
    let unread = check("extensions: ${file:x}\nservice: {pipelines: {traces: }}").unwrap();
    assert!(!unread.extensions_readable);

    let unread = check(&with(list, "[health_check, 1]")).unwrap();
    assert_eq!((unread.extensions.len(), unread.health_check), (0, None));
    assert!(!readable(list, &format!("[{}]", "a,".repeat(ID_LIMIT + 1))));
    assert!(!readable(list, &format!("[{}]", "a".repeat(ID_LIMIT + 1))));
}

#[test]
fn a_health_check_is_probed_where_it_can_be_read() {
    let at = |settings: &str| probed(&format!("health_check: {settings}"));
    let some = |text: &str| Some(text.to_owned());

    assert_eq!(at(""), some("127.0.0.1 13133 /"));
    assert_eq!(at("{}"), some("127.0.0.1 13133 /"));
    assert_eq!(at("{endpoint: 'localhost:1'}"), some("127.0.0.1 1 /"));
    assert_eq!(at("{endpoint: '0.0.0.0:1'}"), some("127.0.0.1 1 /"));
    assert_eq!(at("{endpoint: ':1', path: /a}"), some("127.0.0.1 1 /a"));
    assert_eq!(at("{endpoint: '[::]:1'}"), some("127.0.0.1 1 /"));
    assert_eq!(at("{endpoint: '[::1]:1'}"), some("::1 1 /"));
    assert_eq!(at("{endpoint: 10.1.2.3:65535, response_body: {}}"), some("10.1.2.3 65535 /"));
    let aliased = "b: &b 'localhost:2'\n  health_check: {endpoint: *b}";
    assert_eq!(probed(aliased), some("127.0.0.1 2 /"));

    for settings in [
        "{endpoint: '${env:POD_IP}:13133'}",
        "{endpoint: '$HOST:1'}",
        "{endpoint: 'host.example:1'}",
        "{endpoint: '::1:1'}",
        "{endpoint: 'localhost:http'}",
        "{endpoint: 'localhost:0'}",
        "{endpoint: 'localhost:65536'}",
        "{endpoint: localhost}",
        "{endpoint: 13133}",
        "{endpoint: }",
        "{endpoint: [a]}",
        "{path: health}",
        "{path: '/a b'}",
        "{path: \"/a\\r\\nb\"}",
        "{tls: {cert_file: a}}",
        "{auth: {authenticator: a}}",
        "{transport: unix}",
        "{use_v2: true}",
        "{<<: {tls: {}}}",
        "${file:x}",
        "[]",
        "1",
    ] {
        assert_eq!(at(settings), None, "{settings}");
    }
    // Not enabled, not configured, another type, and the first of two.
    let not_enabled = with("[health_check, file_storage]", "[file_storage]");
    assert_eq!(check(&not_enabled).unwrap().health_check, None);
    assert_eq!(probed("other:"), None);
    assert_eq!(probed("health_checkv2:"), None);
    let two = with("  health_check: {", "  health_check/b: {endpoint: ':9'}\n  health_check: {");
    let two = two.replace("[health_check,", "[health_check/b, health_check,");
    assert_eq!(check(&two).unwrap().health_check.unwrap().port, 9);
}

#[test]
fn the_name_of_the_collectors_own_telemetry_is_read() {
    let name = |telemetry: &str| {
        let body = format!("service:\n  telemetry: {telemetry}\n  pipelines: {{metrics: {{receivers: [a]}}}}\n");
        check(&body).unwrap().service_name
    };
    assert_eq!(name("{resource: {service.name: edge-7, other: x}}").as_deref(), Some("edge-7"));
    assert_eq!(name("{resource: {'service.name': \"edge 7\"}}").as_deref(), Some("edge 7"));
    for unknown in [
        "{}",
        "{resource: }",
        "{resource: {other: x}}",
        "{resource: {service.name: }}",
        "{resource: {service.name: ''}}",
        "{resource: {service.name: {a: b}}}",
        "{resource: {service.name: '${env:NAME}'}}",
        "{resource: '${file:resource.yaml}'}",
        "{resource: [service.name]}",
    ] {
        assert_eq!(name(unknown), None, "{unknown}");
    }
}

#[test]
fn the_bodys_own_telemetry_resource_is_seen() {
    let has = |telemetry: &str| {
        let body = with("{metrics: {level: none}}", telemetry);
        check(&body).unwrap().has_telemetry_resource
    };
    assert!(!has(""));
    assert!(!has("{resource: }"));
    assert!(has("{resource: {a: b}}"));
    assert!(has("{resource: {}}"));
    assert!(has("{resource: '${file:x}'}"));
    assert!(has("${file:telemetry.yaml}"));
    assert!(has("{<<: {resource: {a: b}}}"));
    assert!(check("service: ${file:service.yaml}").unwrap().has_telemetry_resource);
}

#[test]
fn yaml_bombs_are_refused_before_they_are_parsed() {
    let times = |text: &str| text.repeat((4 << 20) / text.len());
    let laugh = |n: usize| format!("a{n}: &a{n} [{}]\n", format!("*a{},", n - 1).repeat(200));
    let laughs: String = (1..10).map(laugh).collect();
    let deep: String = (0..2000).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
    for (name, bomb, what) in [
        ("laughs", format!("a0: &a0 x\n{laughs}"), "nodes with its aliases written out"),
        (
            "one large list",
            format!("a: &a [{}]\nb: [{}]\n", "x,".repeat(9000), "*a,".repeat(60)),
            "nodes with its aliases written out",
        ),
        (
            "a list at the margin",
            format!("a: &a\n{}b: [{}]\n", "- x\n".repeat(9000), "*a,".repeat(60)),
            "nodes with its aliases written out",
        ),
        ("anchors on one", "&a ".repeat(1000), "anchors inside of each other"),
        ("brackets", times("["), "levels of nesting"),
        ("brackets on lines", times("[\n"), "levels of nesting"),
        ("braces", times("{a: "), "levels of nesting"),
        ("dashes", times("- "), "levels of nesting"),
        ("deep", deep, "levels of nesting"),
        ("explicit keys", times("? "), "levels of nesting"),
        ("commas", format!("[{}", times("a,")), "nodes"),
        ("colons", format!("{{{}", times(":,")), "nodes"),
        ("list", times("- a\n"), "nodes"),
        ("mapping", times("a:\n"), "nodes"),
        ("empty entries", times("-\n"), "nodes"),
        ("anchors", times("- &a\n"), "nodes"),
        ("tags", times("- !a\n"), "nodes"),
        ("merge keys", format!("a: &a {{}}\n{}", times("<<: *a\n")), "nodes"),
        ("tag prefix", format!("%TAG ! {}\n---\n", "a".repeat(70)), "bytes of % directives"),
        ("directives", times("%A\n"), "bytes of % directives"),
        ("plain", times("a"), "bytes in one scalar"),
        ("plain over lines", times("a\n"), "bytes in one scalar"),
        ("double quotes", format!("\"{}", times("\\L")), "bytes in one scalar"),
        ("single quotes", format!("'{}", times("''")), "bytes in one scalar"),
        ("block", format!("a: |\n{}", times(" \n")), "bytes in one scalar"),
    ] {
        match check(&bomb) {
            Err(Refusal::TooComplex { what: said, .. }) => assert_eq!(said, what, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    assert_eq!(
        check(&format!("a:\n  {}", "[".repeat(100))).unwrap_err().to_string(),
        "config has more than 64 levels of nesting by line 2; \
         split it, or leave out what is generated"
    );
    // Further documents are neither kept nor counted.
    let documents = format!("{GOOD}{}", times("---\n"));
    assert_eq!(check(&documents).err(), None);
}

/// As a generator writes it for a fleet: defaults and lists by anchors, and everything else once for each tenant.
fn generated(tenants: usize) -> String {
    let each = |line: &dyn Fn(usize) -> String| (0..tenants).map(line).collect::<String>();
    let exporter = |n| format!("  otlphttp/t{n}:\n    <<: *defaults\n    endpoint: https://t{n}.example\n");
    let pipelines = |n| {
        let line =
            |signal| format!("    {signal}/t{n}: {{receivers: *in, processors: *steps, exporters: [otlphttp/t{n}]}}\n");
        ["traces", "metrics", "logs"].map(line).concat()
    };
    format!(
        "x: &defaults\n  compression: gzip\n  headers:\n    a: b\n  retry_on_failure: {{enabled: true, max_elapsed_time: 0s}}\n\
         receivers: {{otlp: {{protocols: {{http: {{}}}}}}}}\nprocessors: {{memory_limiter: {{}}, batch: {{}}}}\nexporters:\n{}\
         service:\n  pipelines:\n    traces: {{receivers: &in [otlp], processors: &steps [memory_limiter, batch], exporters: []}}\n{}",
        each(&exporter),
        each(&pipelines)
    )
}

#[test]
fn a_large_generated_config_is_accepted_however_many_aliases_it_has() {
    // 1,500 tenants: 0.5 MB, 10,500 aliases.
    let body = generated(1_500);
    assert!(body.len() > 450_000 && body.matches('*').count() == 10_500, "{} bytes", body.len());
    check(&body).unwrap();
    // The same lists as a bomb: 9 lines.
    let bomb: String = (1..9).map(|n| format!("a{n}: &a{n} [{}]\n", format!("*a{},", n - 1).repeat(9))).collect();
    let refused = check(&format!("a0: &a0 [otlp]\n{bomb}")).unwrap_err().to_string();
    assert!(
        refused.starts_with("config has more than 500000 nodes with its aliases written out by line "),
        "{refused}"
    );
}

#[test]
fn the_largest_accepted_bodies_need_little_stack() {
    let lines: String = (0..33_000).map(|n| format!("  key{n}: value\n")).collect();
    let nested = format!("x: {}{}\n", "[".repeat(60), "]".repeat(60));
    let aliases = format!("x: &x [{}]\ny: [{}]\n", "a, ".repeat(1000), "*x, ".repeat(480));
    let long = format!("x: \"{}\"\n", "a".repeat(SCALAR_LIMIT - 2));
    for part in [format!("x:\n{lines}"), nested, aliases, long] {
        let body = format!("{GOOD}{part}");
        let small = thread::Builder::new().stack_size(256 << 10);
        small.spawn(move || check(&body).unwrap()).unwrap().join().unwrap();
    }
}

#[test]
fn no_mutation_of_a_config_makes_it_panic_or_hang() {
    let pieces = [
        "[",
        "]",
        "{",
        "}",
        ": ",
        "- ",
        "\"",
        "'",
        "|\n",
        ">\n",
        "&a ",
        "*a",
        "!!binary ",
        "<<: ",
        "\0",
        "${",
        "\n---\n",
        "? ",
        "\n",
        "\u{feff}",
        "\u{2028}",
    ];
    let mut random = fastrand::Rng::with_seed(42);
    let both = Capabilities { health_check: true, sd_notify: true, otlp: true, more: false };
    let begun = Instant::now();
    for _ in 0..6_000 {
        let mut body = GOOD.as_bytes().to_vec();
        for _ in 0..random.usize(1..6) {
            let at = random.usize(..body.len());
            let to = (at + random.usize(..20)).min(body.len());
            let part = body[at..to].to_vec();
            match random.u8(..4) {
                0 => drop(body.drain(at..to)),
                1 => body[at] = random.u8(..),
                2 => drop(body.splice(at..at, pieces[random.usize(..pieces.len())].bytes())),
                _ => {
                    let to = random.usize(..body.len());
                    drop(body.splice(to..to, part));
                }
            }
        }
        if let Ok(seen) = inspect(&body) {
            let made = overlay(&seen, both, [1, 2], &[]);
            assert!(serde_yaml::from_str::<Value>(&made.text).is_ok(), "{}", made.text);
        }
        last_words(&body);
    }
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[test]
fn a_page_or_a_document_in_place_of_a_config_is_named() {
    let said = |body: &[u8]| inspect(body).unwrap_err();
    for (body, titled) in [
        ("<!DOCTYPE html>\n<html><head><title>Sign in</title>", ", its title is \"Sign in\""),
        (
            "\u{feff}\r\n <HTML lang=\"de\"><TITLE id=a>\n  Bitte\t anmelden </TITLE>",
            ", its title is \"Bitte anmelden\"",
        ),
        ("<!-- gateway --><html><body>Sign in</body></html>", ""),
        ("<html><title></title>", ""),
        ("<html><title", ""),
        ("<meta http-equiv=\"refresh\" content=\"0;url=http://portal.example/\">", ""),
        ("<?xml version=\"1.0\"?><!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0\">", ""),
        ("<script>location = '/login'</script>", ""),
    ] {
        assert_eq!(said(body.as_bytes()), Refusal::WebPage { titled: titled.to_owned() }, "{body}");
        assert!(said(body.as_bytes()).is_foreign());
    }
    // Neither its encoding nor its length hides what it is.
    assert_eq!(
        said(b"<html><title>Gesch\xfctzt</title>").to_string(),
        "a web page came, not a config, its title is \"Gesch\u{fffd}tzt\"; is a login page, a captive portal or an error \
         page in the way? Open the address in a browser, or with `curl -i`"
    );
    let long = said(format!("<html><title>{}</title>", "x".repeat(200)).as_bytes()).to_string();
    assert!(long.len() < 260, "{long}");

    let xml = said(b"<?xml version=\"1.0\"?>\n<Error><Code>AccessDenied</Code></Error>");
    assert_eq!(xml, Refusal::Xml);
    assert!(xml.to_string().starts_with("an XML document came, not a config; "));
    assert!(Refusal::NotAConfig.to_string().starts_with("config has no pipelines and no other section of a config; "));
    // A merge key at the top is YAML.
    assert!(!matches!(inspect(b"<<: {a: 1}\n"), Err(Refusal::WebPage { .. } | Refusal::Xml)));
    for mistake in [&b"receivers: {otlp: {}}"[..], b"a: [", b"service: x", b"\xff"] {
        assert!(!inspect(mistake).is_err_and(|refusal| refusal.is_foreign()), "{mistake:?}");
    }
}
