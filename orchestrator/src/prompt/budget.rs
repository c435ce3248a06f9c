//! What a prompt does without when it would be too long: the least valuable first.

use super::view::View;

/// Leaves the least valuable thing out and says what it was; none if only what a prompt can't do without is left: the task, the rules,
/// the program (and the one to cross or mend with), and how to answer.
///
/// The order: programs shown for being different; all but the latest of what was made from the parent and worked; the better
/// programs but one; all but the latest failure; artifacts; the last of each of these; lessons; the interface's reference.
pub(super) fn leave_out(view: &mut View<'_>) -> Option<String> {
    Some(if let Some(program) = view.different.pop() {
        format!("program {}", program.id)
    } else if view.successes.len() > 1 {
        format!("attempt {}", view.successes.remove(0).id)
    } else if view.top.len() > 1 {
        view.top.pop().map_or_else(String::new, |program| format!("program {}", program.id))
    } else if view.failures.len() > 1 {
        format!("attempt {}", view.failures.remove(0).id)
    } else if let Some(artifact) =
        view.parent.artifacts.pop().or_else(|| view.mend.as_mut().and_then(|mend| mend.artifacts.pop()))
    {
        format!("what the evaluation left as `{}`", artifact.name)
    } else if let Some(program) = view.top.pop() {
        format!("program {}", program.id)
    } else if let Some(attempt) = view.successes.pop().or_else(|| view.failures.pop()) {
        format!("attempt {}", attempt.id)
    } else if view.lessons.take().is_some() {
        "the lessons".to_owned()
    } else if view.problem.api_reference.take().is_some() {
        "the reference of the interface".to_owned()
    } else {
        return None;
    })
}
