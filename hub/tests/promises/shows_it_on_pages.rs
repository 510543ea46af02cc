//! The pages work without JavaScript, ask nothing of anybody else, and take hostile text from agents for text.

use otelet_hub::auth::Role;
use otelet_wire::opamp::OfferStatus;

use crate::kit::{Agent, Answer, CONFIG, TestHub, audit};

struct Person<'a> {
    hub: &'a TestHub,
    bearer: String,
}

impl<'a> Person<'a> {
    fn new(hub: &'a TestHub) -> Self {
        let made = hub.auth.make_token("pages", Role::Admin, i64::MAX, "anna", audit());
        Self { hub, bearer: format!("Bearer {}", hub.run(made).unwrap()) }
    }

    fn open(&self, path: &str) -> Answer {
        self.hub.ask("GET", path, &[("Authorization", &self.bearer)], b"")
    }

    fn send(&self, path: &str, body: &str) -> Answer {
        let headers = [("Authorization", self.bearer.as_str()), ("Content-Type", "application/x-www-form-urlencoded")];
        self.hub.ask("POST", path, &headers, body.as_bytes())
    }
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn a_config_is_written_checked_assigned_and_seen_to_fail_by_forms_alone() {
    let hub = TestHub::new();
    let person = Person::new(&hub);
    let token = hub.enrolment(2);
    let mut agent = Agent::new(1, &token);
    agent.poll(&hub);

    let faulty = CONFIG.replace("[debug]", "[debug, nop]");
    let checked = person.send("/configs/edge", &format!("base=0&act=check&text={}", encoded(&faulty)));
    assert_eq!(checked.status, 200);
    assert!(checked.text().contains("line 9: pipeline metrics names"), "{}", checked.text());
    let refused = person.send("/configs/edge", &format!("base=0&act=save&text={}", encoded(&faulty)));
    assert_eq!(refused.status, 422);

    // Browsers send CRLF; the config keeps its own line ends.
    let crlf = CONFIG.replace('\n', "\r\n");
    assert_eq!(person.send("/configs/edge", &format!("base=0&act=save&text={}", encoded(&crlf))).status, 303);
    let outdated = person.send("/configs/edge", &format!("base=0&act=save&text={}", encoded(CONFIG)));
    assert_eq!(outdated.status, 412);
    assert_eq!(person.send("/assignments", &format!("rows={}", encoded("site=line-3 -> edge@1"))).status, 303);
    let offer = agent.poll(&hub).remote_config.unwrap();
    assert_eq!(offer.config.unwrap().config_map[""].body, CONFIG);

    agent.status = OfferStatus::Failed;
    agent.message = "unknown type: <script>alert(1)</script>".into();
    agent.poll(&hub);
    let fleet = person.open("/").text();
    assert!(fleet.contains("config failed") && fleet.contains("Go on with the next agent"), "{fleet}");
    for path in ["/", "/agents", "/configs", &format!("/agents/{}", agent.uid)] {
        let page = person.open(path);
        assert_eq!(page.status, 200, "{path}");
        assert!(!page.text().contains("<script"), "{path}");
    }
    let page = person.open(&format!("/agents/{}", agent.uid)).text();
    assert!(page.contains("unknown type: &#60;script&#62;") || page.contains("unknown type: &lt;script&gt;"), "{page}");

    let hash = hub.hub.fleet(|fleet| *fleet.stops().keys().next().unwrap());
    assert_eq!(person.send(&format!("/agents/{}/offer", agent.uid), &format!("hash={hash}")).status, 303);
    assert!(agent_is_offered(&hub, &agent));
}

fn agent_is_offered(hub: &TestHub, agent: &Agent) -> bool {
    hub.hub.fleet(|fleet| fleet.offer(agent.uid).is_some())
}

#[test]
fn every_page_asks_only_its_own_origin() {
    let hub = TestHub::new();
    let person = Person::new(&hub);
    let mut agent = Agent::new(1, &hub.enrolment(1));
    agent.poll(&hub);
    hub.save("edge", 0, CONFIG);
    for path in
        ["/", "/agents", "/configs", "/configs/edge", "/login", "/setup?token=x", &format!("/agents/{}", agent.uid)]
    {
        let page = person.open(path);
        let policy = &page.headers["content-security-policy"];
        assert!(policy.starts_with("default-src 'self';") && policy.contains("frame-ancestors 'none'"), "{policy}");
        for part in ["http://", "https://", "style=", "<script", "javascript:", " onclick"] {
            assert!(!page.text().contains(part), "{path} has {part}");
        }
    }
    assert_eq!(person.open("/hub.css").headers["content-type"], "text/css; charset=utf-8");
}

#[test]
fn the_list_takes_queries_and_says_so_when_nothing_matches() {
    let hub = TestHub::new();
    let person = Person::new(&hub);
    let token = hub.enrolment(3);
    for n in 1..=3 {
        Agent::new(n, &token).poll(&hub);
    }
    let all = person.open("/agents").text();
    assert!(all.contains("1 to 3 of 3") && all.contains("press-2"), "{all}");
    assert!(person.open("/agents?q=press-2").text().contains("1 to 1 of 1"));
    assert!(person.open("/agents?q=oven").text().contains("No agent matches"));
}

/// A form that has no call of the API could not be done by a program.
#[test]
fn each_form_of_a_page_has_a_call_of_the_api() {
    let calls = [
        ("/agents/{uid}/restart", "/api/v1/agents/{uid}/restart"),
        ("/agents/{uid}/offer", "/api/v1/agents/{uid}/offer"),
        ("/agents/{uid}/labels", "/api/v1/agents/{uid}"),
        ("/stops/{hash}/resume", "/api/v1/stops/{hash}/resume"),
        ("/configs/{name}", "/api/v1/configs/{name}"),
        ("/assignments", "/api/v1/assignments"),
    ];
    // A session is a browser's; a program has a token.
    let sessions = ["/login", "/logout", "/setup"];
    let api: serde_json::Value = serde_json::from_str(&otelet_hub::web::openapi()).unwrap();
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/web");
    let mut forms = 0;
    for file in std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()) {
        let Some("html") = file.extension().and_then(|end| end.to_str()) else { continue };
        let text = std::fs::read_to_string(&file).unwrap();
        for form in text.split("<form method=\"post\"").skip(1) {
            let action = form.split("action=\"").nth(1).unwrap().split("\">").next().unwrap();
            let mut action = action.to_owned();
            for (from, to) in [("{{ agent.uid }}", "{uid}"), ("{{ stop.hash }}", "{hash}"), ("{{ name }}", "{name}")] {
                action = action.replace(from, to);
            }
            let action = if action.starts_with("{% if setup") { "/setup".to_owned() } else { action };
            forms += 1;
            if sessions.contains(&action.as_str()) {
                continue;
            }
            let call = calls.iter().find(|(form, _)| *form == action).unwrap_or_else(|| panic!("{action} has no call"));
            assert!(api["paths"][call.1].is_object(), "{}", call.1);
        }
    }
    assert!(forms > 8, "{forms}");
}
