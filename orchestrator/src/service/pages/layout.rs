//! What every page has: head, skip link, navigation, footer.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};
use program_db::{FeedPlace, Run};

use super::assets;
use super::format::short;

/// Where in the site a page stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Runs,
    Compare,
    Sql,
    Help,
    /// A page of a run.
    Run(Tab),
}

/// The pages of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    Overview,
    Programs,
    Lineage,
    Islands,
    Models,
    Device,
}

impl Tab {
    const ALL: [(Self, &'static str, &'static str, &'static str); 6] = [
        (Self::Overview, "Overview", "", "o"),
        (Self::Programs, "Programs", "/programs", "p"),
        (Self::Lineage, "Lineage", "/lineage", "l"),
        (Self::Islands, "Islands", "/islands", "i"),
        (Self::Models, "Models", "/models", "m"),
        (Self::Device, "Device", "/device", "d"),
    ];
}

/// A whole page. `run` is the run that it belongs to; `stream` the events that its live parts follow.
pub(super) struct Page<'a> {
    pub(super) title: String,
    pub(super) place: Place,
    pub(super) run: Option<&'a Run>,
    /// What was stored when its reading began; its live parts follow what comes then. Absent: it has none.
    pub(super) from: Option<FeedPlace>,
    pub(super) body: Markup,
}

impl Page<'_> {
    /// The page as it is sent.
    pub(super) fn render(self) -> Response {
        self.with_status(StatusCode::OK)
    }

    pub(super) fn with_status(self, status: StatusCode) -> Response {
        let markup = self.markup();
        (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], markup.into_string()).into_response()
    }

    fn markup(self) -> Markup {
        let stream = self.from.map(|from| match self.run {
            Some(run) => format!("/api/v1/runs/{}/events?after={from}", run.id),
            None => format!("/api/v1/events?after={from}"),
        });
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " – evolve" }
                    link rel="icon" href="/assets/icon.svg" type="image/svg+xml";
                    link rel="stylesheet" href={ "/assets/style.css?" (assets::version()) };
                    script src={ "/assets/live.js?" (assets::version()) } defer {}
                }
                body data-stream=[stream] {
                    a class="skip" href="#main" { "Skip to the content" }
                    (top(self.place))
                    @if let (Some(run), Place::Run(tab)) = (self.run, self.place) { (tabs(run, tab)) }
                    main id="main" tabindex="-1" { (self.body) }
                    footer {
                        p {
                            span id="live" role="status" { "" }
                            " " a href="/help" { "Keys and words" } " · " kbd { "?" }
                        }
                    }
                }
            }
        }
    }
}

fn top(place: Place) -> Markup {
    let link = |here: bool, address: &str, name: &str| {
        html! { a href=(address) aria-current=[here.then_some("page")] { (name) } }
    };
    html! {
        header class="top" {
            a class="brand" href="/" { (mark()) "evolve" }
            nav aria-label="Site" {
                (link(place == Place::Runs, "/", "Runs"))
                (link(place == Place::Compare, "/compare", "Compare"))
                (link(place == Place::Sql, "/sql", "SQL"))
                (link(place == Place::Help, "/help", "Help"))
            }
            // Shown by the script: without it the system's choice holds.
            button type="button" id="theme" hidden { "Theme" }
        }
    }
}

/// The sign beside the name: three generations.
fn mark() -> Markup {
    html! {
        svg class="mark" viewBox="0 0 20 20" width="20" height="20" aria-hidden="true" {
            path d="M4 10C9 10 9 4 15 4M4 10C9 10 9 16 15 16" {}
            circle cx="4" cy="10" r="2.6" {}
            circle cx="15" cy="4" r="2.6" {}
            circle class="best" cx="15" cy="16" r="3" {}
        }
    }
}

fn tabs(run: &Run, tab: Tab) -> Markup {
    html! {
        nav class="tabs" aria-label={ "Run " (run.id) } {
            span class="where" { "Run " (run.id) span class="soft" { " " (short(&run.title, 60)) } }
            span class="row" {
                @for (of, name, path, key) in Tab::ALL {
                    a href={ "/runs/" (run.id) (path) } data-key=(key) aria-current=[(of == tab).then_some("page")] { (name) }
                }
            }
        }
    }
}

/// A part of a page that changes with the run: fetched anew from its own address when something happened. `id` is unique on a page.
pub(super) fn live(id: &str, address: &str, inner: Markup) -> Markup {
    html! { div id=(id) data-live=(address) { (inner) } }
}

/// A part by itself, for the script; `is_old`: there is more, and it shall come again.
pub(super) fn fragment(inner: Markup, is_old: bool) -> Response {
    let again = if is_old { "again" } else { "done" };
    ([("content-type", "text/html; charset=utf-8"), ("evolve-part", again)], inner.into_string())
        .into_response()
}

/// A heading with what belongs to it, in a frame.
pub(crate) fn card(title: &str, inner: Markup) -> Markup {
    let id: String =
        title.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    html! {
        section class="card" aria-labelledby=(id) {
            h2 id=(id) { (title) }
            (inner)
        }
    }
}

/// Something wide that scrolls by itself on a narrow screen, by keyboard too.
pub(crate) fn wide(name: &str, inner: Markup) -> Markup {
    html! { div class="wide" role="region" aria-label=(name) tabindex="0" { (inner) } }
}

/// The same for a drawing that is as wide as the page.
pub(crate) fn full(name: &str, inner: Markup) -> Markup {
    html! { div class="wide fill" role="region" aria-label=(name) tabindex="0" { (inner) } }
}
