//! The dashboard, as a browser has it: a real server, a run of a real search and one with a kernel's trials, a real Chromium.
//!
//! Without a Chromium the tests that need one say that they are skipped; with `EVOLVE_REQUIRE_BROWSER` (as in `.ci/run`) they fail.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::Project;
use common::browser::{Browser, axe};
use common::server::Server;
use common::stored::{HOSTILE, add_hostile, compare, search};
use serde_json::{Value, json};

/// Run 1 has a kernel's trials, comparison and a hostile program 2; run 2 was searched.
fn project() -> Project {
    let project = Project::new("search: { num_islands: 2 }\n");
    let path = project.path("evolve.db");
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let db = search(&path).await;
        compare(&db).await;
        add_hostile(&db, 1, 2).await;
        db.close().await;
    });
    project.succeed(&["run", "--iterations", "30"]);
    project
}

/// Every kind of page.
const PAGES: [&str; 22] = [
    "/",
    "/help",
    "/sql",
    "/sql?q=SELECT%20number%2C%20source%2C%20NULL%2C%20x%27ff%27%20FROM%20programs",
    "/sql?q=SELECT%20nothing",
    "/compare",
    "/compare?a=1&b=2",
    "/compare?a=1%2F1&b=2%2F3",
    "/runs/1",
    "/runs/2",
    "/runs/1/programs",
    "/runs/2/programs?sort=best&kind=measured&island=1&by=rewrite",
    "/runs/1/programs/0",
    "/runs/1/programs/1",
    "/runs/1/programs/2",
    "/runs/2/programs/3",
    "/runs/2/programs/3/diff/0",
    "/runs/2/lineage",
    "/runs/2/lineage?root=1",
    "/runs/2/islands",
    "/runs/1/device",
    "/runs/2/models",
];

fn best_of(project: &Project, run: i64) -> i64 {
    let rows = project
        .sql(&format!("SELECT number FROM programs WHERE run = {run} ORDER BY score DESC, number LIMIT 1"));
    rows[0]["number"].as_i64().unwrap()
}

#[test]
fn every_page_is_served_and_what_was_stored_is_text() {
    let project = project();
    let server = Server::start(&project, &[]);
    for path in PAGES {
        let answer = server.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert!(answer.header("content-type").unwrap().starts_with("text/html"), "{path}");
        assert!(
            !answer.body.contains("<script>") && !answer.body.contains("<img"),
            "{path}: {}",
            answer.body
        );
        assert!(!answer.body.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{path}");
        assert!(!answer.body.contains("NaN") && !answer.body.contains(" style="), "{path}");
    }
    let hostile = server.get("/runs/1/programs/2").body;
    assert!(
        hostile.contains("&lt;script&gt;window.hacked = 1&lt;/script&gt;")
            && hostile.contains("\\u{1b}[31mred"),
        "{hostile}"
    );
    assert!(
        HOSTILE.contains("&lt;") && hostile.contains("&amp;lt;b&amp;gt;"),
        "what looks escaped is escaped again"
    );

    let kernel = server.get("/runs/1/programs/1").body;
    for words in [
        "improved",
        "tost-paired",
        "Pairs of trials",
        "hodges-lehmann",
        "against the original baseline",
        "How it was decided",
    ] {
        assert!(kernel.contains(words), "{words}: {kernel}");
    }
    assert!(server.get("/runs/1/device").body.contains("The reference&#39;s speed over the run"));
    let searched = server.get(&format!("/runs/2/programs/{}", best_of(&project, 2))).body;
    assert!(searched.contains("champion of the run") && searched.contains("class=\"diff\""), "{searched}");
    let islands = server.get("/runs/2/islands").body;
    assert!(islands.contains("Grid of island 1") && islands.contains("class=\"h8\""), "{islands}");
}

#[test]
fn what_isnt_there_has_a_page_that_says_so() {
    let project = project();
    let server = Server::start(&project, &[]);
    for (path, words) in [
        ("/runs/77", "77"),
        ("/runs/2/programs/9999", "9999"),
        ("/runs/2/lineage?root=9999", "9999"),
        ("/compare?a=1%2F1&b=2%2F9999", "9999"),
    ] {
        let answer = server.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.body.contains("<h1>") && answer.body.contains(words), "{path}: {}", answer.body);
    }
    for path in [
        "/compare?a=x&b=2",
        "/compare?a=1&b=2%2F1",
        "/runs/x",
        "/runs/2/programs?after=x",
        "/runs/2/islands?x=-1",
    ] {
        assert_eq!(server.get(path).status, 400, "{path}");
    }
    let answer = server.get("/sql?q=DELETE%20FROM%20run");
    assert!(answer.status == 200 && answer.body.contains("role=\"alert\""), "{}", answer.body);
    let style = server.get("/assets/style.css");
    let tag = style.header("etag").unwrap().to_owned();
    assert_eq!(server.send("GET", "/assets/style.css", &[("If-None-Match", &tag)], "").status, 304);
}

#[test]
fn every_page_opens_without_complaint_fits_a_phone_and_can_be_used_by_all() {
    let Some(browser) = Browser::start() else { return };
    let axe = axe();
    let project = project();
    let server = Server::start(&project, &[]);
    let mut findings: Vec<String> = Vec::new();
    for path in PAGES {
        for (scheme, width) in [("light", 1280), ("dark", 375)] {
            browser.scheme(scheme);
            browser.width(width, 900);
            browser.open(&format!("http://{}{path}", server.address));
            browser.until("return document.readyState === 'complete'");
            let what = format!("{path} ({scheme}, {width} px)");
            findings.extend(browser.complaints().into_iter().map(|words| format!("{what}: {words}")));
            let overflow = browser
                .run("return document.documentElement.scrollWidth - document.documentElement.clientWidth");
            if overflow.as_i64() != Some(0) {
                findings.push(format!("{what}: {overflow} px too wide"));
            }
            if let Some(axe) = &axe {
                findings.extend(serious(&browser, axe).into_iter().map(|words| format!("{what}: {words}")));
            }
        }
    }
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

/// Accessibility findings that keep somebody out.
fn serious(browser: &Browser, axe: &str) -> Vec<String> {
    browser.run(&format!("if (!window.axe) {{ {axe}\n }}"));
    let found = browser.run_async(
        "const done = arguments[arguments.length - 1]; \
         axe.run(document, { resultTypes: ['violations'] }).then((result) => done(result.violations \
         .filter((it) => it.impact === 'serious' || it.impact === 'critical') \
         .map((it) => it.id + ': ' + it.help + ' | ' + it.nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(' | '))), \
         (error) => done(['axe failed: ' + error]));",
    );
    found.as_array().unwrap().iter().map(|words| words.as_str().unwrap().to_owned()).collect()
}

#[test]
fn dark_and_light_follow_the_system_until_somebody_chooses() {
    let Some(browser) = Browser::start() else { return };
    let project = project();
    let server = Server::start(&project, &[]);
    let colour = || browser.run("return getComputedStyle(document.body).backgroundColor");
    browser.scheme("light");
    browser.open(&format!("http://{}/runs/2", server.address));
    let light = colour();
    browser.scheme("dark");
    let dark = colour();
    assert_ne!(light, dark);
    browser.scheme("light");
    browser.run("document.getElementById('theme').click()");
    assert_eq!(colour(), light, "first light whatever the system has");
    browser.press(&["t"]);
    assert_eq!(colour(), dark, "then dark");
    browser.open(&format!("http://{}/help", server.address));
    assert_eq!(colour(), dark, "and so on the next page");
}

#[test]
fn the_keyboard_reaches_everything() {
    let Some(browser) = Browser::start() else { return };
    let project = project();
    let server = Server::start(&project, &[]);
    let at = |path: &str| {
        browser.until(&format!(
            "return location.pathname + location.search === '{path}' && document.readyState === 'complete'"
        ));
    };
    browser.open(&format!("http://{}/runs/2", server.address));
    browser.press(&["\u{e004}"]);
    assert_eq!(
        browser.run("return document.activeElement.className"),
        "skip",
        "the first stop skips the navigation"
    );
    let outline = browser
        .run("const it = getComputedStyle(document.activeElement); return it.outlineStyle + ' ' + it.left");
    assert!(
        outline.as_str().unwrap().starts_with("solid ") && !outline.as_str().unwrap().contains('-'),
        "and is seen: {outline}"
    );
    browser.press(&["\u{e007}"]);
    assert_eq!(browser.run("return document.activeElement.id"), "main");
    browser.press(&["p"]);
    at("/runs/2/programs");
    browser.press(&["j", "j"]);
    let chosen =
        browser.run("return document.activeElement.getAttribute('href')").as_str().unwrap().to_owned();
    assert_eq!(chosen, "/runs/2/programs/29", "the second row");
    browser.press(&["\u{e007}"]);
    at("/runs/2/programs/29");
    browser.press(&["k"]);
    at("/runs/2/programs/28");
    browser.press(&["?"]);
    at("/help");
    browser.press(&["g", "s"]);
    at("/sql");
    browser.press(&["/"]);
    assert_eq!(browser.run("return document.activeElement.id"), "q");
    browser.press(&["S", "E", "L", "E", "C", "T", " ", "7", " ", "A", "S", " ", "g"]);
    browser.run("document.activeElement.form.requestSubmit()");
    at("/sql?q=SELECT+7+AS+g");
    assert!(
        browser.run("return document.querySelector('main').innerText").as_str().unwrap().contains("1 row")
    );
    // Every scrolling part can be reached and scrolled.
    browser.open(&format!("http://{}/runs/2/lineage", server.address));
    let unreachable = browser.run(
        "return [...document.querySelectorAll('main *')].filter((it) => it.scrollWidth > it.clientWidth + 1 && \
         getComputedStyle(it).overflowX === 'auto' && it.tabIndex < 0).length",
    );
    assert_eq!(unreachable, 0);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn what_a_run_stores_is_on_the_page_a_moment_later() {
    let Some(browser) = Browser::start() else { return };
    let project = project();
    let server = Server::start(&project, &[]);
    browser.open(&format!("http://{}/runs/2", server.address));
    browser.until("return document.body.dataset.state === 'live'");
    browser.run("window.unchanged = true");
    let proposals = "[...document.querySelectorAll('dt')].find((it) => it.innerText === 'Proposals').nextElementSibling.innerText";
    let before = browser.run(&format!("return {proposals}"));
    assert!(before.as_str().unwrap().starts_with("30"), "{before}");
    // Somebody else's process goes on with the run.
    project.succeed(&["resume", "2", "--iterations", "45"]);
    browser.until(&format!("return {proposals}.startsWith('45')"));
    browser.until("return !!document.querySelector('a[href=\"/runs/2/programs/45\"]')");
    assert_eq!(browser.run("return window.unchanged"), true, "the page itself stayed");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn nothing_hostile_runs_in_a_browser() {
    let Some(browser) = Browser::start() else { return };
    let project = project();
    let server = Server::start(&project, &[]);
    for path in [
        "/",
        "/runs/1",
        "/runs/1/programs",
        "/runs/1/programs/2",
        "/runs/1/programs/2/diff/0",
        "/runs/1/lineage",
        "/runs/1/models",
        "/compare?a=1%2F2&b=1%2F1",
        "/sql?q=SELECT%20*%20FROM%20proposals",
    ] {
        browser.open(&format!("http://{}{path}", server.address));
        let seen = browser.run(
            "return { hacked: window.hacked ?? null, images: document.images.length, \
             scripts: [...document.scripts].map((it) => it.getAttribute('src')).filter((it) => !it || !it.startsWith('/assets/')).length, \
             text: document.body.textContent.includes('<script>window.hacked = 1</script>') }",
        );
        assert_eq!(seen["hacked"], Value::Null, "{path}");
        assert_eq!((&seen["images"], &seen["scripts"]), (&json!(0), &json!(0)), "{path}");
        assert!(path == "/" || seen["text"] == true, "{path}: it is there, as text");
        assert_eq!(browser.complaints(), Vec::<String>::new(), "{path}");
    }
    // A drawing's words too.
    browser.open(&format!("http://{}/runs/1/lineage", server.address));
    assert_eq!(
        browser.run("return document.querySelectorAll('svg script, svg img, svg foreignObject').length"),
        0
    );
}

#[test]
fn buttons_start_pause_and_resume_runs() {
    let Some(browser) = Browser::start() else { return };
    let project = project();
    let server = Server::start(&project, &["--configs", "."]);
    browser.open(&format!("http://{}/", server.address));
    browser.run(
        "const form = document.querySelector('form[action=\"/start\"]'); form.elements.config.value = 'config.yaml'; \
         form.elements.iterations.value = '100000'; form.requestSubmit()",
    );
    browser.until("return location.pathname === '/runs/3'");
    browser.until("return !!document.querySelector('button[value=pause]')");
    browser.run("document.querySelector('button[value=pause]').click()");
    browser.until("return document.querySelector('.state')?.innerText === 'paused'");
    browser.until("return !!document.querySelector('button[value=resume]')");
    browser.run("const form = document.querySelector('form[action=\"/runs/3/control\"]'); form.elements.iterations.value = '3'; \
                 document.querySelector('button[value=resume]').click()");
    browser.until(
        "return location.pathname === '/runs/3' && document.querySelector('.state')?.innerText === 'ended'",
    );
    assert_eq!(browser.place().0, "Run 3: number – evolve");
}
