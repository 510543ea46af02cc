//! Which texts are hidden and which are not, in every style of YAML.

use fastrand::Rng;

use super::*;
use crate::scan::NODE_LIMIT;

fn redacted(text: &str) -> String {
    Redactor::default().config(text)
}

#[test]
fn a_scalar_under_a_secret_name_is_replaced_and_the_rest_stays() {
    for (text, shown) in [
        ("password: hunter2", "password: <redacted>"),
        (
            "a: # why\n  Password:   hunter2   # old\n\n  b: 0x1F\n",
            "a: # why\n  Password:   <redacted>   # old\n\n  b: 0x1F\n",
        ),
        ("{\"apiKey\": \"hunter2\", \"n\": 10485760}", "{\"apiKey\": \"<redacted>\", \"n\": 10485760}"),
        ("{\"pin_token\":1234,\"n\":1.10}", "{\"pin_token\":\"<redacted>\",\"n\":1.10}"),
        ("x: {a: [1, {client_secret: 'hunter2', b: c}]}", "x: {a: [1, {client_secret: \"<redacted>\", b: c}]}"),
        ("key_pem: |\n  hunter2\n\n   hunter3\nb: 1\n", "key_pem: <redacted>\nb: 1\n"),
        ("token: >-\n  hunter2\n# end\nb: 1", "token: <redacted>\n# end\nb: 1"),
        ("token: \"hunter2\n  hunter3\"\nb: 1", "token: \"<redacted>\"\nb: 1"),
        ("token: hunter2\n  hunter3\nb: 1", "token: <redacted>\nb: 1"),
        ("tokens:\n- hunter2\n- x: hunter3\nb:", "tokens:\n- <redacted>\n- x: <redacted>\nb:"),
        ("? password\n: hunter2\n", "? password\n: <redacted>\n"),
        ("\"pass\\u0077ord\": hunter2", "\"pass\\u0077ord\": <redacted>"),
        ("a: 1\r\npassword: hunter2\r\nb: 2\r\n", "a: 1\r\npassword: <redacted>\r\nb: 2\r\n"),
        ("\u{feff}password: hunter2", "password: <redacted>"),
        ("---\npassword: hunter2\n...\n", "---\npassword: <redacted>\n...\n"),
    ] {
        assert_eq!(redacted(text), shown);
    }
}

#[test]
fn a_token_in_the_path_of_a_url_is_a_secret() {
    const HOOK: &str = "https://hooks.example/services/T0/abcdefghij0123456789ABCD";
    for (text, shown) in [
        (format!("endpoint: {HOOK}"), "endpoint: <redacted>"),
        (format!("a: [\"see {HOOK}?x=y\", b]"), "a: [\"<redacted>\", b]"),
        (format!("a: 1 # was {HOOK}"), "a: 1 # <redacted>"),
        ("endpoint: https://otlp.example:4318/v1/metrics".to_owned(), "endpoint: https://otlp.example:4318/v1/metrics"),
    ] {
        assert_eq!(redacted(&text), shown);
    }
    let redactor = Redactor::default();
    let line = format!("Post \"{HOOK}\": refused, then {HOOK}/more: gone");
    let hidden = "https://hooks.example/services/T0/<redacted>";
    assert_eq!(redactor.line(&line), format!("Post \"{hidden}\": refused, then {hidden}/more: gone"));
    // Also at the end of a sentence, and of a form that a sign behind it would change.
    let uuid = "https://hc.example/ping/3f2504e0-4f89-11d3-9a0c-0305e82c3301: gone";
    assert_eq!(redactor.line(uuid), "https://hc.example/ping/<redacted> gone");
    assert_eq!(redactor.log(&format!("got {HOOK} now\nnext")), format!("got {hidden} now\nnext"));
}

#[test]
fn secrets_in_a_log_are_replaced_and_the_rest_stays() {
    let redactor = Redactor::new(["hunter2-known"]);
    for (line, shown) in [
        ("config 7f3a applied\n", "config 7f3a applied\n"),
        ("got hunter2-known, and more\n", "got <redacted>, and more\n"),
        ("why: password=hunter2 is wrong\nnext", "why: password <redacted>\nnext"),
        ("{\"api_key\": \"hunter2\"}", "{\"api_key <redacted>"),
        ("{X-Key: <set>, key: hunter2}", "{X-Key: <set>, key <redacted>"),
        ("token=hunter2-known", "token=<redacted>"),
        ("token=hunter2-known-and-more", "token <redacted>"),
        ("Authorization: Bearer hunter2hunter2", "Authorization <redacted>"),
        ("GET https://user:hunter2@c.example/v1 failed", "GET https:// <redacted>"),
        (
            "a -----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----\nb",
            "a <redacted>\n<redacted>\n<redacted>\nb",
        ),
        ("k -----BEGIN PRIVATE KEY-----\\nhunter2\\n-----END PRIVATE KEY-----\nb", "k <redacted>\nb"),
    ] {
        assert_eq!(redactor.log(line), shown);
    }
}

#[test]
fn the_secrets_of_a_config_are_listed() {
    let text = "a: {password: hunter2, token: \"${env:T}\", n: 1, url: 'https://u:hunter3@h'}";
    assert_eq!(Redactor::default().secrets_in(text), ["hunter2", "https://u:hunter3@h"]);
    assert_eq!(Redactor::default().secrets_in("a: [b"), [""; 0]);
}

#[test]
fn secret_names_are_recognised_by_their_words() {
    let secret = "password PASSWORD db_password passwd client-secret token bearer_token accessToken api_key API-Key \
                  apikey X-Api-Key access_key_id private_key keyPem key credentials Authorization dsn pwd sasKey \
                  connection_string community htpasswd ${env:API_KEY}";
    for name in secret.split_whitespace() {
        assert!(is_secret_name(name), "{name}");
    }
    let harmless = "endpoint keyboard monkey host key_file password_file bearer_token_file token_url compass \
                    routing_key metadata_keys author authenticator username timeout passive designate";
    for name in harmless.split_whitespace() {
        assert!(!is_secret_name(name), "{name}");
    }
}

#[test]
fn header_values_are_replaced_but_references_stay() {
    let text = "headers:\n  X-Site: north-4\n  Authorization: ${env:KM_API_KEY}\n  A: Bearer ${file:/run/token}\n  \
                B: ${env:TOKEN:-hunter2}\n  C: Bearer hunter2\n  D: ${env:A}${B}\n";
    let shown = "headers:\n  X-Site: <redacted>\n  Authorization: ${env:KM_API_KEY}\n  A: Bearer ${file:/run/token}\n  \
                 B: <redacted>\n  C: <redacted>\n  D: ${env:A}${B}\n";
    assert_eq!(redacted(text), shown);
    assert_eq!(redacted("headers: [{key: a, value: hunter2}]"), "headers: [{key: <redacted>, value: <redacted>}]");
}

#[test]
fn a_public_key_is_shown_and_a_secret_one_in_its_place_is_not() {
    let public = "RWREku3J4iZ/rjYHz7xs+DWe8V0juLEau+gSIqNg2VLBZOpUfbUdMdKj";
    for text in [format!("config: {{public_key: {public}}}\n"), format!("config.public_key: {public}  # a.yaml:1:2\n")]
    {
        assert_eq!(redacted(&text), text);
        assert_eq!(Redactor::default().log(&text), text);
        assert_eq!(Redactor::default().secrets_in(&text), [""; 0]);
        for other in [format!("{public}{public}"), public.replace('/', "!"), public[1..].to_owned()] {
            let text = text.replace(public, &other);
            assert!(!redacted(&text).contains(&other) && !Redactor::default().log(&text).contains(&other), "{text}");
        }
    }
    assert!(!Redactor::default().log(&format!("api_key: {public}")).contains(public));
}

#[test]
fn an_empty_null_or_boolean_value_is_no_secret() {
    let text = "password: \"\"\ntoken:\nkey: ~\ninclude_token: true\n";
    assert_eq!(redacted(text), text);
}

#[test]
fn the_key_of_an_attribute_is_no_secret() {
    let text = "- {key: host.name, action: upsert, value: \"4\"}\n- {key: a, from_attribute: b}\n";
    assert_eq!(redacted(text), text);
    assert_eq!(redacted("api: {key: hunter2, site: eu}"), "api: {key: <redacted>, site: eu}");
    let named = "env: [{value: hunter2, name: DB_PASSWORD}, {name: LANG, value: C}]";
    let shown = "env: [{value: <redacted>, name: DB_PASSWORD}, {name: LANG, value: C}]";
    assert_eq!(redacted(named), shown);
}

#[test]
fn a_value_that_looks_like_a_secret_is_replaced_under_any_name() {
    for secret in [
        "https://user:hunter2@c.example/v1",
        "https://hunter2@c.example",
        "postgres://me:hun/ter2@db/x",
        "host=db user=me password=hunter2 sslmode=disable",
        "https://c.example/v1?api_key=hunter2",
        "https://c.example/v1?a=b&sig=hunter2",
        "--token hunter2",
        "curl -H 'Authorization: Bearer hunter2-hunter2'",
        "Basic aHVudGVyMjpodW50ZXIy",
        "-----BEGIN EC PRIVATE KEY-----hunter2",
        "{\"password\": \"hunter2\"}",
        "${env:API_KEY:-hunter2}",
    ] {
        let text = serde_json::to_string(&serde_json::json!({"a": {"b": [secret]}})).unwrap();
        assert_eq!(redacted(&text), "{\"a\":{\"b\":[\"<redacted>\"]}}", "{secret}");
    }
    for innocent in [
        "https://c.example:4318/v1/a@b",
        "http://[::1]:4318",
        "https://${env:HOST}:${env:PORT}/v1",
        "unix:///var/run/docker.sock",
        "where attributes[\"password\"] == \"x\"",
        "set(attributes[\"token\"], \"y\") where key == 1",
        "service::telemetry",
        "tokens are counted",
        "basic",
        "0.0.0.0:4317",
        "password=${env:PASSWORD}",
    ] {
        let text = serde_json::to_string(&serde_json::json!({"a": innocent})).unwrap();
        assert_eq!(redacted(&text), text);
    }
}

#[test]
fn known_values_are_replaced_everywhere() {
    let redactor = Redactor::new(["Bearer 0123456789", "https://me:hunter2@c.example", "pin7", "42", ""]);
    for (text, shown) in [
        ("a: x0123456789y", "a: <redacted>"),
        ("a: say hunter2!", "a: <redacted>"),
        ("a: \"hu\\u006eter2\"", "a: \"<redacted>\""),
        ("a: 'hun\n\n  ter2'\nb: >-\n  x\n  pin7", "a: 'hun\n\n  ter2'\nb: <redacted>"),
        ("hunter2: 1", "<redacted>: 1"),
        ("a: 1 # pin7\nb: 142\nc: 42", "a: 1 # <redacted>\nb: 142\nc: <redacted>"),
        ("a: &hunter2 1", "{\"a\": 1}\n"),
    ] {
        assert_eq!(redactor.config(text), shown);
    }
    assert_eq!(redactor.line("401 for 0123456789 of me"), "401 for <redacted> of me");
    assert_eq!(format!("{redactor:?}"), "Redactor(6 values)");
    assert_eq!(redactor.config("a: !hunter2 1"), "{\"a\": 1}\n");
    assert!(redactor.config("%FOO hunter2\n---\na: 1").starts_with("# <redacted>: "));
}

#[test]
fn comments_that_mention_secrets_are_replaced_with_their_neighbours() {
    let text = "# good\n\n# the old password:\n#   hunter2\na: 1 # fine\nb: 2 # token=hunter2\n#end";
    let shown = "# <redacted>\n\n# <redacted>\n# <redacted>\na: 1 # fine\nb: 2 # <redacted>\n# <redacted>";
    assert_eq!(redacted(text), shown);
    assert_eq!(redacted("# one\na: 1 # two\n"), "# one\na: 1 # two\n");
}

#[test]
fn a_config_that_cannot_be_changed_in_place_is_shown_as_json() {
    for (text, shown) in [
        (
            "x: &x {password: hunter2, n: 10485760, f: 0.5, t: \"1\"}\ny: *x\nz: [~, true, .inf, 1: 2]",
            "{\"x\": {\"password\": \"<redacted>\", \"n\": 10485760, \"f\": 0.5, \"t\": \"1\"}, \"y\": \
             {\"password\": \"<redacted>\", \"n\": 10485760, \"f\": 0.5, \"t\": \"1\"}, \"z\": [null, true, \"inf\", \
             {\"1\": 2}]}\n",
        ),
        ("a: &s hunter2\npassword: *s", "{\"a\": \"hunter2\", \"password\": \"<redacted>\"}\n"),
        ("a: !!str 1\npassword: !x [hunter2]", "{\"a\": \"1\", \"password\": [\"<redacted>\"]}\n"),
    ] {
        assert_eq!(redacted(text), shown);
    }
}

#[test]
fn a_text_that_cannot_be_parsed_is_not_shown() {
    let bomb: String = (1..20).map(|n| format!("a{n}: &a{n} [{}]\n", format!("*a{},", n - 1).repeat(9))).collect();
    let bomb = format!("a0: &a0 password\n{bomb}");
    let deep = "[".repeat(1000);
    for text in [
        "password: hunter2: x",
        "password: \"hunter2",
        "a: 1\n---\npassword: hunter2\n",
        "{[a, b]: &x hunter2}",
        "",
        &deep,
        &bomb,
        &format!("a: {}", "x".repeat(LARGEST)),
    ] {
        let size = text.len();
        let shown = format!("# <redacted>: {size} bytes that cannot be shown without the risk of showing a secret\n");
        assert_eq!(redacted(text), shown);
    }
    let many: Vec<String> = (0..2000).map(|number| format!("secret-{number}")).collect();
    let text = format!("a: [{}]", "x, ".repeat(200_000));
    assert!(Redactor::new(many.iter().map(String::as_str)).config(&text).starts_with("# <redacted>"));
}

/// Writes one value in one of the ways that YAML has for it, at this indentation.
fn written(rng: &mut Rng, text: &str, indent: usize, in_flow: bool) -> String {
    let pad = " ".repeat(indent + 2);
    let (first, second) = text.split_at(text.len() / 2);
    let escaped: String = text.chars().map(|c| format!("\\u{:04x}", c as u32)).collect();
    match rng.usize(..if in_flow { 5 } else { 10 }) {
        0 => text.to_owned(),
        1 => format!("\"{text}\""),
        2 => format!("'{text}'"),
        3 => format!("\"{first}\\\n{pad}{second}\""),
        4 => format!("\"{escaped}\""),
        5 => format!("|\n{pad}{text}\n"),
        6 => format!(">- # folded\n\n{pad}{text}\n"),
        7 => format!("|2-\n{pad}{text}"),
        8 => format!("\n{pad}{text}"),
        _ => format!("\n{pad}- {text}\n{pad}- [x, \"{text}\"]"),
    }
}

/// A config with secrets under telling names in all kinds of styles; also the texts that must be hidden and shown.
fn planted(rng: &mut Rng) -> (String, Vec<String>, Vec<String>) {
    let names = ["password", "API_KEY", "x-token", "clientSecret", "\"authorization\"", "'private_key'", "key"];
    let (mut text, mut hidden, mut shown) = (String::new(), Vec::new(), Vec::new());
    let marker = |rng: &mut Rng| format!("m{:016x}", rng.u64(..));
    for section in 0..rng.usize(1..5) {
        text += &format!("section{section}:\n");
        for entry in 0..rng.usize(1..6) {
            let value = marker(rng);
            if rng.bool() {
                text += &format!("  entry{entry}: {value}\n");
                shown.push(value);
                continue;
            }
            let name = names[rng.usize(..names.len())];
            // The number keeps the names in a mapping apart.
            text += &match rng.usize(..4) {
                0 => {
                    let other = marker(rng);
                    let value = written(rng, &value, 0, true);
                    shown.push(other.clone());
                    format!("  flow{entry}: {{a: {other}, {name}: {value}, b: [1, {{c: d}}]}}\n")
                }
                1 => format!("  list{entry}:\n  - {name}: {}\n    b: c\n", written(rng, &value, 4, false)),
                2 => format!("  {entry}:\n    {name}: {}\n", written(rng, &value, 4, false)),
                _ => format!("  headers{entry}: 1\n  # {name} is {value}\n"),
            };
            hidden.push(value);
        }
    }
    (text, hidden, shown)
}

#[test]
fn no_planted_secret_is_shown_and_nothing_else_is_hidden() {
    let mut in_place = 0;
    for seed in 0..3000 {
        let rng = &mut Rng::with_seed(seed);
        let (text, hidden, shown) = planted(rng);
        let output = redacted(&text);
        for value in &hidden {
            assert!(!output.contains(value.as_str()), "seed {seed} shows {value}\n{text}\n{output}");
        }
        for value in &shown {
            assert!(output.contains(value.as_str()), "seed {seed} hides {value}\n{text}\n{output}");
        }
        in_place += usize::from(!output.starts_with('{'));
    }
    assert_eq!(in_place, 3000, "none needs the JSON form");
}

/// Collects the values under secret names, by a walk independent of the code under test.
fn under_secret_names(value: &serde_yaml::Value, secret: bool, found: &mut Vec<String>) {
    use serde_yaml::Value;
    match value {
        Value::Mapping(map) => {
            for (name, value) in map {
                let name = name.as_str().unwrap_or_default().to_lowercase();
                let secret_names = ["password", "api_key", "token", "secret", "authorization", "private_key"];
                under_secret_names(value, secret || secret_names.iter().any(|word| name.contains(word)), found);
            }
        }
        Value::Sequence(items) => items.iter().for_each(|item| under_secret_names(item, secret, found)),
        Value::Tagged(tagged) => under_secret_names(&tagged.value, secret, found),
        Value::String(text) if secret => found.push(text.clone()),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[test]
fn no_mutation_brings_a_secret_out() {
    let noise = [
        "\n",
        "\n  ",
        " ",
        "  ",
        "\t",
        "'",
        "\"",
        "#",
        " #",
        ":",
        ": ",
        "- ",
        "? ",
        "|",
        ">",
        "|2\n",
        "{",
        "}",
        "[",
        "]",
        ",",
        "&a ",
        "*a ",
        "!x ",
        "\\",
        "---\n",
        "...",
        "%Y\n",
        "\r",
        "\u{feff}",
        "\u{85}",
        "\u{2028}",
        "<<: ",
        "password: ",
        "~",
        "\u{e9}",
    ];
    let (mut read, mut refused) = (0, 0);
    for seed in 0..4_000 {
        let rng = &mut Rng::with_seed(seed);
        let (mut text, hidden, shown) = planted(rng);
        for _ in 0..rng.usize(1..4) {
            let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
            let mut place = || places[rng.usize(..places.len())];
            let (from, to) = (place(), place());
            match rng.usize(..4) {
                0 => drop(text.remove(from)),
                1 => text.insert_str(from, noise[rng.usize(..noise.len())]),
                2 => text.insert_str(from, &text[to..].chars().take(20).collect::<String>()),
                _ => text.replace_range(from..from + text[from..].find(' ').map_or(0, |at| at + 1), ""),
            }
        }
        let output = redacted(&text);
        let mut secret = Vec::new();
        match serde_yaml::from_str(&output) {
            Ok(value) => under_secret_names(&value, false, &mut secret),
            // The collector would refuse it, and the walk of this test cannot go on.
            Err(error) if error.to_string().contains("duplicate entry") => {}
            Err(error) => panic!("seed {seed}: no YAML any more: {error}\n{text}\n{output}"),
        }
        for marker in hidden.iter().chain(&shown) {
            let leaks = secret.iter().any(|text| text.contains(marker.as_str()));
            assert!(!leaks, "seed {seed} shows {marker}\n{text}\n{output}");
        }
        // With all values known, none of them is shown, whatever the mutation did.
        let all = hidden.iter().chain(&shown).map(String::as_str);
        let output = Redactor::new(all.clone()).config(&text);
        assert!(!all.clone().any(|marker| output.contains(marker)), "seed {seed}\n{text}\n{output}");
        if output.starts_with('#') {
            refused += 1
        } else {
            read += 1
        };
    }
    assert!(read > 600 && refused > 600, "both happen: {read} read, {refused} not");
}

/// A cost that grows with the square of the length is four times as high for one text as for its four quarters. It is
/// measured in hundredths of a second of this thread's processor time (utime and stime in proc(5)): a clock would
/// include the work of others.
#[test]
fn the_worst_of_4_mib_takes_little_time_and_stack() {
    const WHOLE: usize = 1 << 20;
    // A tick is a coarse measure, and so short a time is harmless however it grows.
    const NOISE: u64 = 20;
    let fill = |size: usize, unit: &str| unit.repeat(size / unit.len());
    let texts: [&(dyn Fn(usize) -> String + Sync); 8] = [
        &|size| format!("a: 1 # {}", fill(size, "://x:y/")),
        &|size| format!("a: 1 # {}", fill(size, "key ")),
        &|size| format!("a: 1 # {}", fill(size, "token=${env:A}")),
        &|size| fill(size, "# a\n"),
        &|size| format!("a: [{}]", "'://x:y', ".repeat(NODE_LIMIT / 2 * size / WHOLE)),
        &|size| format!("{}1", "- ".repeat(60 * size / WHOLE)),
        &|size| format!("a: |\n{}", fill(size, "  password\n")),
        &|size| format!("a: {}", fill(size, "x")),
    ];
    let spent = || -> u64 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let fields = stat.rsplit_once(") ").unwrap().1.split(' ').skip(11).take(2);
        fields.map(|field| field.parse::<u64>().unwrap()).sum()
    };
    let job = || {
        let redactor = Redactor::new(["hunter2hunter2"; 1]);
        let cost = |text: &str, times: usize| {
            let before = spent();
            (0..times).for_each(|_| drop(redactor.config(text)));
            spent() - before
        };
        for text in texts {
            let (pieces, whole) = (cost(&text(WHOLE / 4), 4), cost(&text(WHOLE), 1));
            println!("{pieces} ticks in four pieces, {whole} in one: {:.40}", text(WHOLE));
            assert!(whole <= pieces * 2 + NOISE, "{whole} ticks, in four pieces {pieces}: {:.40}", text(WHOLE));
        }
    };
    std::thread::scope(|scope| {
        std::thread::Builder::new().stack_size(256 * 1024).spawn_scoped(scope, job).unwrap().join().unwrap();
    });
}
