//! The event stream: what is stored, told as it is stored, whichever process stores it.
//!
//! Streams follow the database, not a process: one look at the tables' ends, some times a second, serves all of them. A stream holds its
//! place and nothing more, reads on when its client has taken what it was given, and goes on where it was after a broken connection
//! (`Last-Event-ID`). So nothing is missed, a slow reader costs nothing, and none can hold up a run.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use program_db::{Change, FeedPlace, RunId};
use tokio::sync::watch;

use super::Service;
use super::metrics::OpenStream;
use super::problem::Problem;

/// How often it is looked whether something was stored, while somebody listens.
const LOOK: Duration = Duration::from_millis(200);

/// What is read at once.
const PAGE: u32 = 200;

/// A sign of life, so that neither side, nor a proxy between, takes the other for gone.
const ALIVE: Duration = Duration::from_secs(15);

/// How long a client waits before it connects again.
const RETRY: Duration = Duration::from_secs(2);

/// Looks at the tables' ends until the server closes, and wakes the streams when one has moved.
pub(super) async fn look(service: Service) {
    let end = &service.0.end;
    let mut failing = false;
    loop {
        tokio::select! {
            () = service.closing().cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        if end.receiver_count() == 0 {
            continue;
        }
        match service.db().feed_end().await {
            Ok(now) => {
                failing = false;
                end.send_if_modified(|end| std::mem::replace(end, now) != now);
            }
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(%error, "event streams can't see the database");
            }
            Err(_) => {}
        }
    }
}

/// Where a stream begins: behind the event that the client saw last, as the browser says it or as the address does; else now.
///
/// # Errors
/// The address names no place.
pub async fn place(
    service: &Service,
    headers: &HeaderMap,
    after: Option<&str>,
) -> Result<FeedPlace, Problem> {
    let end = service.db().feed_end().await?;
    // A browser repeats an id for as long as the page lives, so one that means nothing any more must not end the stream.
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(|id| id.parse().ok());
    let place = match (last, after) {
        (Some(last), _) => last,
        (None, Some(after)) => {
            after.parse::<FeedPlace>().map_err(|error| Problem::bad_request(format!("after: {error}")))?
        }
        (None, None) => end,
    };
    Ok(place.within(end))
}

/// A stream of what is stored behind a place, of one run or of all.
pub fn stream(service: &Service, place: FeedPlace, run: Option<RunId>) -> Response {
    let following = Following {
        end: service.0.end.subscribe(),
        service: service.clone(),
        place,
        run,
        opened: false,
        _counted: service.0.metrics.stream(),
        read: VecDeque::new(),
    };
    Sse::new(following.events()).keep_alive(KeepAlive::new().interval(ALIVE)).into_response()
}

struct Following {
    service: Service,
    end: watch::Receiver<FeedPlace>,
    place: FeedPlace,
    run: Option<RunId>,
    opened: bool,
    _counted: OpenStream,
    read: VecDeque<Change>,
}

impl Following {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        futures::stream::unfold(self, async |mut following| {
            let event = following.next().await?;
            Some((Ok(event), following))
        })
    }

    /// The next event; none when the server closes, or the database can't be read: the client comes again.
    async fn next(&mut self) -> Option<Event> {
        if !self.opened {
            self.opened = true;
            // It gives the client a place to go on from also if nothing happens before the connection breaks.
            return Some(Event::default().event("open").id(self.place.to_string()).retry(RETRY).data("{}"));
        }
        loop {
            while let Some(change) = self.read.pop_front() {
                if self.run.is_none_or(|run| run == change.run) {
                    return event(&change);
                }
            }
            // Before reading, so that what is stored from now on is seen as a change.
            self.end.borrow_and_update();
            let (changes, place) = match self.service.db().feed(self.place, PAGE).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!(%error, "an event stream ends");
                    return None;
                }
            };
            if place != self.place {
                (self.place, self.read) = (place, changes.into());
                continue;
            }
            tokio::select! {
                () = self.service.closing().cancelled() => return None,
                woken = self.end.changed() => woken.ok()?,
            }
        }
    }
}

fn event(change: &Change) -> Option<Event> {
    let data = serde_json::to_string(change).ok()?;
    Some(Event::default().event(change.what.name()).id(change.place.to_string()).data(data))
}
