//! The first admin comes by the setup link; roles, tokens and sessions let each do what it may, and no more.

use std::collections::BTreeMap;

use otelet_hub::auth::Role;

use crate::kit::{Answer, TestHub, audit};

const PASSWORD: &str = "correct horse battery";

fn form(hub: &TestHub, path: &str, cookie: &str, more: &[(&str, &str)], body: &str) -> Answer {
    let mut headers = vec![("Content-Type", "application/x-www-form-urlencoded"), ("Sec-Fetch-Site", "same-origin")];
    if !cookie.is_empty() {
        headers.push(("Cookie", cookie));
    }
    headers.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
    headers.extend(more);
    hub.ask("POST", path, &headers, body.as_bytes())
}

fn cookie(answer: &Answer) -> String {
    answer.headers["set-cookie"].split(';').next().unwrap().to_owned()
}

fn set_up(hub: &TestHub) -> String {
    let token = hub.run(hub.auth.open_setup()).unwrap().unwrap();
    let answer = form(hub, "/setup", "", &[], &format!("token={token}&name=anna&password=correct+horse+battery"));
    assert_eq!(answer.status, 303, "{}", answer.text());
    cookie(&answer)
}

#[test]
fn the_setup_link_makes_one_admin_and_works_once() {
    let hub = TestHub::new();
    assert_eq!(hub.ask("GET", "/", &[], b"").headers["location"], "/login");
    let wrong = form(&hub, "/setup", "", &[], "token=setup_guess&name=eve&password=correct+horse+battery");
    assert_eq!(wrong.status, 403);
    let token = hub.run(hub.auth.open_setup()).unwrap().unwrap();
    let body = format!("token={token}&name=anna&password=short");
    assert_eq!(form(&hub, "/setup", "", &[], &body).status, 400);
    let body = format!("token={token}&name=anna&password=correct+horse+battery");
    let done = form(&hub, "/setup", "", &[], &body);
    assert_eq!(done.status, 303);
    let page = hub.ask("GET", "/", &[("Cookie", &cookie(&done))], b"");
    assert!(page.status == 200 && page.text().contains("anna (admin)"), "{}", page.text());
    let again = form(&hub, "/setup", "", &[], &body.replace("anna", "eve"));
    assert_eq!(again.status, 403);
    assert_eq!(hub.run(hub.auth.open_setup()).unwrap(), None, "there is somebody now");
}

#[test]
fn a_session_begins_with_a_new_id_and_ends_by_signing_out() {
    let hub = TestHub::new();
    set_up(&hub);
    let planted = "otelet=AAAAAAAAAAAAAAAAAAAAAA";
    let answer = form(&hub, "/login", planted, &[], "name=anna&password=correct+horse+battery");
    assert_eq!(answer.status, 303);
    let set = &answer.headers["set-cookie"];
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict"), "{set}");
    let mine = cookie(&answer);
    assert_ne!(mine, planted);
    assert_eq!(hub.ask("GET", "/", &[("Cookie", planted)], b"").status, 303, "the planted one is nobody");
    assert_eq!(hub.ask("GET", "/", &[("Cookie", &mine)], b"").status, 200);
    assert_eq!(form(&hub, "/logout", &mine, &[], "").status, 303);
    assert_eq!(hub.ask("GET", "/", &[("Cookie", &mine)], b"").status, 303);
}

#[test]
fn wrong_passwords_are_refused_alike_and_then_limited() {
    let hub = TestHub::new();
    set_up(&hub);
    let wrong = form(&hub, "/login", "", &[], "name=anna&password=wrong");
    let nobody = form(&hub, "/login", "", &[], "name=nobody&password=wrong");
    assert_eq!((wrong.status, nobody.status), (401, 401));
    assert_eq!(wrong.text(), nobody.text());
    let tries = (0..12).map(|_| form(&hub, "/login", "", &[], "name=anna&password=wrong").status);
    assert!(tries.last() == Some(429));
}

#[test]
fn requests_of_other_sites_are_refused() {
    let hub = TestHub::new();
    let mine = set_up(&hub);
    for more in [[("Sec-Fetch-Site", "cross-site")], [("Sec-Fetch-Site", "same-site")]] {
        let answer = form(&hub, "/assignments", &mine, &more, "rows=");
        assert_eq!(answer.status, 403, "{more:?}");
    }
    let answer = form(&hub, "/assignments", &mine, &[("Sec-Fetch-Site", "same-origin")], "rows=");
    assert_eq!(answer.status, 303);
    let foreign = [("Cookie", mine.as_str()), ("Origin", "https://evil.test"), ("Content-Type", "application/json")];
    assert_eq!(hub.ask("PUT", "/api/v1/assignments", &foreign, b"[]").status, 403);
}

/// Each call of the API by each role. The calls and their roles stand here by hand: who may do what is a promise.
#[test]
fn each_call_takes_its_role() {
    let hub = TestHub::new();
    let uid = hub.run(hub.hub.make_agent(None, BTreeMap::new(), audit())).unwrap().0;
    let agent = format!("/api/v1/agents/{uid}");
    let hash = "00".repeat(32);
    use Role::{Admin, Editor, Operator, Viewer};
    let calls: Vec<(Role, &str, String, String)> = vec![
        (Viewer, "GET", "/api/v1/me".into(), String::new()),
        (Viewer, "GET", "/api/v1/fleet".into(), String::new()),
        (Viewer, "GET", "/api/v1/agents".into(), String::new()),
        (Viewer, "GET", agent.clone(), String::new()),
        (Viewer, "GET", format!("{agent}/events"), String::new()),
        (Viewer, "GET", format!("{agent}/effective"), String::new()),
        (Viewer, "GET", "/api/v1/events".into(), String::new()),
        (Viewer, "GET", "/api/v1/configs".into(), String::new()),
        (Viewer, "GET", "/api/v1/configs/edge".into(), String::new()),
        (Viewer, "GET", "/api/v1/configs/edge/versions/1".into(), String::new()),
        (Viewer, "POST", "/api/v1/validate".into(), "{\"text\": \"\"}".into()),
        (Viewer, "GET", "/api/v1/assignments".into(), String::new()),
        (Viewer, "GET", "/api/v1/stops".into(), String::new()),
        (Viewer, "GET", "/api/v1/enrolments".into(), String::new()),
        (Operator, "POST", format!("{agent}/restart"), String::new()),
        (Operator, "POST", format!("{agent}/offer"), format!("{{\"hash\": \"{hash}\"}}")),
        (Operator, "POST", format!("/api/v1/stops/{hash}/resume"), String::new()),
        (Editor, "POST", "/api/v1/agents".into(), "{}".into()),
        (Editor, "PATCH", agent.clone(), "{\"labels\": {}}".into()),
        (Editor, "PUT", "/api/v1/configs/edge".into(), "{\"text\": \"\"}".into()),
        (Editor, "PUT", "/api/v1/configs/edge/versions/1/signature".into(), "x".into()),
        (Editor, "PUT", "/api/v1/assignments".into(), "[]".into()),
        (Editor, "POST", "/api/v1/enrolments".into(), "{\"name\": \"\"}".into()),
        (Editor, "DELETE", "/api/v1/enrolments/none".into(), String::new()),
        (Admin, "GET", "/api/v1/tokens".into(), String::new()),
        (Admin, "POST", "/api/v1/tokens".into(), "{\"name\": \"\", \"role\": \"viewer\"}".into()),
        (Admin, "DELETE", "/api/v1/tokens/none".into(), String::new()),
        (Admin, "GET", "/api/v1/people".into(), String::new()),
        (Admin, "POST", "/api/v1/people".into(), "{\"name\": \"\", \"password\": \"\", \"role\": \"viewer\"}".into()),
        (Admin, "DELETE", "/api/v1/people/none".into(), String::new()),
        (Admin, "GET", "/api/v1/audit".into(), String::new()),
        (Admin, "DELETE", "/api/v1/agents/none".into(), String::new()),
    ];
    // Each call of the description is in the table.
    let api: serde_json::Value = serde_json::from_str(&otelet_hub::web::openapi()).unwrap();
    let described: usize = api["paths"].as_object().unwrap().values().map(|path| path.as_object().unwrap().len()).sum();
    assert_eq!(described, calls.len());

    let mut tokens = vec![(None, String::new())];
    for role in Role::ALL {
        let made = hub.auth.make_token(role.word(), role, i64::MAX, "anna", audit());
        tokens.push((Some(role), hub.run(made).unwrap()));
    }
    for (needed, method, path, body) in &calls {
        let kind = if path.ends_with("signature") { "text/plain" } else { "application/json" };
        let mut line = format!("{method:6} {path}").replace(&uid.to_string(), "UID").replace(&hash, "HASH");
        for (role, token) in &tokens {
            let bearer = format!("Bearer {token}");
            let mut headers = vec![("Content-Type", kind)];
            if role.is_some() {
                headers.push(("Authorization", &bearer));
            }
            let answer = hub.ask(method, path, &headers, body.as_bytes());
            line += &format!(" {}", answer.status);
            match role {
                None => assert_eq!(answer.status, 401, "{line}"),
                Some(role) if role < needed => assert_eq!(answer.status, 403, "{line}"),
                Some(_) => assert!(![401, 403, 500].contains(&answer.status), "{line}: {}", answer.text()),
            }
        }
        println!("{line}");
    }
    // A token that was revoked is nobody.
    hub.run(hub.auth.revoke_token("admin", audit())).unwrap();
    let bearer = format!("Bearer {}", tokens[4].1);
    assert_eq!(hub.ask("GET", "/api/v1/me", &[("Authorization", &bearer)], b"").status, 401);
}

#[test]
fn a_removed_person_is_out_at_once_and_the_last_admin_stays() {
    let hub = TestHub::new();
    let mine = set_up(&hub);
    assert!(hub.run(hub.auth.remove("anna", audit())).is_err());
    hub.run(hub.auth.add("bert", PASSWORD, Role::Admin, audit())).unwrap();
    hub.run(hub.auth.remove("anna", audit())).unwrap();
    assert_eq!(hub.ask("GET", "/", &[("Cookie", &mine)], b"").status, 303);
}

#[test]
fn no_secret_of_a_token_is_in_the_database() {
    let hub = TestHub::new();
    set_up(&hub);
    let api = hub.run(hub.auth.make_token("ci", Role::Admin, i64::MAX, "anna", audit())).unwrap();
    let enrol = hub.enrolment(3);
    let mut agent = crate::kit::Agent::new(1, &enrol);
    agent.poll(&hub);
    for end in ["", "-wal"] {
        let bytes = std::fs::read(hub.dir.join(format!("hub.db{end}"))).unwrap();
        for secret in [&api, &enrol, &agent.token, PASSWORD] {
            assert!(!bytes.windows(secret.len()).any(|it| it == secret.as_bytes()), "{secret} in hub.db{end}");
        }
    }
}
