//! Python's tracebacks, cut down to the frames that tell something.

const HEAD: &str = "Traceback (most recent call last):";

/// Frames shown from a traceback's end; the first one is always shown.
const LAST: usize = 3;

/// Lines shown from before the last traceback.
const BEFORE: usize = 3;

/// The last traceback with its first and last frames and file names instead of paths. Other words stay as they are.
pub(super) fn essence(words: &str) -> String {
    let lines: Vec<&str> = words.trim().lines().collect();
    let Some(head) = lines.iter().rposition(|line| line.trim_end().ends_with(HEAD)) else {
        return words.trim().to_owned();
    };
    let mut kept: Vec<String> = lines[..head]
        .iter()
        .filter(|line| !line.trim().is_empty())
        .take(BEFORE)
        .map(|line| (*line).to_owned())
        .collect();
    kept.push(HEAD.to_owned());
    let is_frame = |line: &str| line.trim_start().starts_with("File \"") && line.starts_with(' ');
    let body = &lines[head + 1..];
    // What isn't indented any more is the exception itself.
    let end = body.iter().position(|line| !line.starts_with(' ')).unwrap_or(body.len());
    let (frames, exception) = body.split_at(end);
    let starts: Vec<usize> = (0..frames.len()).filter(|at| is_frame(frames[*at])).collect();
    for (number, start) in starts.iter().enumerate() {
        let from_end = starts.len() - number;
        if number == 0 || from_end <= LAST {
            let next = starts.get(number + 1).copied().unwrap_or(frames.len());
            kept.extend(frames[*start..next].iter().map(|line| without_folder(line)));
        } else if number == 1 {
            kept.push(format!("  ... ({} frames left out)", starts.len() - 1 - LAST));
        }
    }
    kept.extend(exception.iter().map(|line| (*line).to_owned()));
    kept.join("\n")
}

/// `File "/a/b/program.py", line 3` with the file's name only: where we keep it helps nobody.
fn without_folder(line: &str) -> String {
    let Some((before, rest)) = line.split_once("File \"") else { return line.to_owned() };
    let Some((path, after)) = rest.split_once('"') else { return line.to_owned() };
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    format!("{before}File \"{name}\"{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deep_traceback_keeps_its_ends_and_loses_folders() {
        let frame = |n: u32| format!("  File \"/tmp/x{n}/program.py\", line {n}, in f{n}\n    call({n})\n");
        let words = format!(
            "the command exited with code 1\nwarming up\n{HEAD}\n{}ValueError: bad\nmore of it\n",
            (1..=7).map(frame).collect::<String>()
        );
        let essence = essence(&words);
        assert_eq!(
            essence,
            "the command exited with code 1\nwarming up\nTraceback (most recent call last):\n  \
             File \"program.py\", line 1, in f1\n    call(1)\n  ... (3 frames left out)\n  \
             File \"program.py\", line 5, in f5\n    call(5)\n  File \"program.py\", line 6, in f6\n    call(6)\n  \
             File \"program.py\", line 7, in f7\n    call(7)\nValueError: bad\nmore of it"
        );
    }

    #[test]
    fn other_words_and_broken_tracebacks_stay() {
        assert_eq!(essence("  plain\nwords \n"), "plain\nwords");
        assert_eq!(essence(HEAD), HEAD);
        assert_eq!(essence(&format!("{HEAD}\n  File \"\n")), format!("{HEAD}\n  File \""));
    }
}
