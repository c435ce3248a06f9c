//! `/help`: keys, and what the words mean.

use axum::response::Response;
use maud::html;

use super::layout::{Page, Place, card};

const KEYS: [(&str, &str); 13] = [
    ("?", "this page"),
    ("g r", "runs"),
    ("g c", "compare"),
    ("g s", "SQL"),
    ("o p l i m d", "in a run: overview, programs, lineage, islands, models, device"),
    ("j k", "next and previous row of a table; on a program's page the next and previous program"),
    ("Enter", "open the chosen row"),
    ("n", "next page of a list"),
    ("/", "to the first field of the page"),
    ("t", "light, dark, or as the system has it"),
    ("Tab", "from link to link; the first one skips the navigation"),
    ("Ctrl Enter", "run the SQL query"),
    ("Esc", "leave a field"),
];

const WORDS: [(&str, &str); 12] = [
    (
        "Program",
        "a stored source with where it comes from and how it ended; its number is that of its proposal",
    ),
    ("Proposal", "one attempt of a proposer, failed ones too"),
    ("Score", "the one number that search maximises; for kernels 1 is the baseline"),
    (
        "Verdict",
        "what the statistics say of a measured program: improved, regressed, or inconclusive (no difference shown)",
    ),
    (
        "Champion",
        "the best program that is better than the baseline beyond chance; if none is, that with the highest score",
    ),
    ("Reference", "what candidates are compared with: the best claimed so far, or the baseline"),
    (
        "Pair",
        "a trial of the reference and one of the candidate on the same seed, in an order that a coin decides",
    ),
    ("Effect", "the relative change of a metric, with its 95 % interval; positive is better"),
    ("Island", "a population of its own; islands pass their best on to each other"),
    ("Cell", "programs alike in the feature dimensions; each island keeps the best of each cell, the elite"),
    ("Gain", "by how much the best score of the run rose"),
    ("Yield", "the share of proposals that was measured"),
];

pub(super) async fn page() -> Response {
    let body = html! {
        h1 { "Keys and words" }
        div class="grid two" {
            (card("Keys", html! {
                table {
                    thead { tr { th scope="col" { "Key" } th scope="col" { "What it does" } } }
                    tbody { @for (keys, what) in KEYS { tr {
                        td class="nowrap" { @for key in keys.split(' ') { kbd { (key) } " " } }
                        td { (what) }
                    } } }
                }
                p class="soft small" { "Single letters do nothing while a field has the focus." }
            }))
            (card("Words", html! { dl { @for (word, meaning) in WORDS { dt { strong { (word) } } dd { (meaning) } } } }))
        }
    };
    Page { title: "Keys and words".to_owned(), place: Place::Help, run: None, from: None, body }.render()
}
