//! EVOLVE-BLOCK: the parts of a program that may change.
//!
//! A marker is a line of its own whose first word is `EVOLVE-BLOCK-START` or `EVOLVE-BLOCK-END`, in a comment
//! of any language: `// EVOLVE-BLOCK-START`, `# EVOLVE-BLOCK-END`, `<!-- EVOLVE-BLOCK-START -->`. Whatever
//! stands between the two is a block; everything else, the marker lines included, is the frame.

const START: &str = "EVOLVE-BLOCK-START";
const END: &str = "EVOLVE-BLOCK-END";

/// A program taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    /// The text around the blocks, with the marker lines: one piece more than there are blocks.
    pub frame: Vec<String>,
    /// What may change.
    pub blocks: Vec<Block>,
}

/// The text between two markers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its lines with their ends; empty, or ending with a line feed.
    pub content: String,
    /// Line of its first line in the program, from 1.
    pub first_line: u32,
}

/// The markers are wrong. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// There is nothing to evolve.
    #[error(
        "no EVOLVE-BLOCK: put a comment line `EVOLVE-BLOCK-START` above the code that may change and `EVOLVE-BLOCK-END` below it"
    )]
    None,
    /// A block never ends.
    #[error("line {line}: EVOLVE-BLOCK-START without EVOLVE-BLOCK-END below it")]
    MissingEnd {
        /// Line of the START.
        line: u32,
    },
    /// A block never started.
    #[error("line {line}: EVOLVE-BLOCK-END without EVOLVE-BLOCK-START above it")]
    MissingStart {
        /// Line of the END.
        line: u32,
    },
    /// A block within a block.
    #[error(
        "line {line}: EVOLVE-BLOCK-START within the block that starts at line {outer}; end that one first"
    )]
    Nested {
        /// Line of the second START.
        line: u32,
        /// Line of the first one.
        outer: u32,
    },
    /// The new text of a block has markers itself.
    #[error("block {block}: line {line} of its new text is an EVOLVE-BLOCK marker; leave the markers out")]
    MarkerInContent {
        /// Which block, from 1.
        block: usize,
        /// Line within the new text.
        line: u32,
    },
    /// Another number of blocks.
    #[error("{given} blocks given for a program with {wanted}")]
    Count {
        /// As many were given.
        given: usize,
        /// As many are in the program.
        wanted: usize,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marker {
    Start,
    End,
}

/// What kind of marker a line is, if any: before the word only punctuation and spaces, after it no letter,
/// digit, `-` or `_`.
pub(crate) fn marker(line: &str) -> Option<Marker> {
    let word = line.trim_start_matches(|c: char| c.is_whitespace() || c.is_ascii_punctuation());
    let (kind, rest) = match (word.strip_prefix(START), word.strip_prefix(END)) {
        (Some(rest), _) => (Marker::Start, rest),
        (None, Some(rest)) => (Marker::End, rest),
        (None, None) => return None,
    };
    let goes_on = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    // The `-->` of HTML may follow at once.
    (rest.starts_with("-->") || !rest.starts_with(goes_on)).then_some(kind)
}

/// Takes a program apart. Never panics, whatever the text.
pub fn parse(source: &str) -> Result<Marked, BlockError> {
    let mut frame = vec![String::new()];
    let mut blocks: Vec<Block> = Vec::new();
    let mut open: Option<u32> = None;
    for (line, text) in (1_u32..).zip(source.split_inclusive('\n')) {
        match (marker(text), open) {
            (Some(Marker::Start), None) => {
                open = Some(line);
                push(&mut frame, text);
                blocks.push(Block { content: String::new(), first_line: line + 1 });
            }
            (Some(Marker::Start), Some(outer)) => return Err(BlockError::Nested { line, outer }),
            (Some(Marker::End), Some(_)) => {
                open = None;
                frame.push(text.to_owned());
            }
            (Some(Marker::End), None) => return Err(BlockError::MissingStart { line }),
            (None, None) => push(&mut frame, text),
            (None, Some(_)) => {
                if let Some(block) = blocks.last_mut() {
                    block.content.push_str(text);
                }
            }
        }
    }
    match open {
        Some(line) => Err(BlockError::MissingEnd { line }),
        None if blocks.is_empty() => Err(BlockError::None),
        None => Ok(Marked { frame, blocks }),
    }
}

/// Like [`parse`], but a program without any marker is one block as a whole.
pub fn parts(source: &str) -> Result<Marked, BlockError> {
    match parse(source) {
        Err(BlockError::None) => Ok(Marked {
            frame: vec![String::new(), String::new()],
            blocks: vec![Block { content: source.to_owned(), first_line: 1 }],
        }),
        marked => marked,
    }
}

fn push(frame: &mut [String], text: &str) {
    if let Some(piece) = frame.last_mut() {
        piece.push_str(text);
    }
}

impl Marked {
    /// The program with other block contents. A content without a line feed at its end gets one.
    pub fn splice<S: AsRef<str>>(&self, contents: &[S]) -> Result<String, BlockError> {
        if contents.len() != self.blocks.len() {
            return Err(BlockError::Count { given: contents.len(), wanted: self.blocks.len() });
        }
        let mut program = String::new();
        for (index, piece) in self.frame.iter().enumerate() {
            program.push_str(piece);
            let Some(content) = contents.get(index).map(AsRef::as_ref) else { continue };
            if let Some(line) = (1_u32..).zip(content.lines()).find(|(_, text)| marker(text).is_some()) {
                return Err(BlockError::MarkerInContent { block: index + 1, line: line.0 });
            }
            program.push_str(content);
            if !content.is_empty() && !content.ends_with('\n') {
                program.push('\n');
            }
        }
        Ok(program)
    }

    /// The first line of `other` at which its frame differs from this one's; none if only block contents
    /// differ. Differences in the number of blocks count as differences of the frame.
    pub fn first_frame_difference(&self, other: &Self) -> Option<u32> {
        let mut line = 1_u32;
        for (index, theirs) in other.frame.iter().enumerate() {
            let Some(ours) = self.frame.get(index) else { return Some(line) };
            if ours != theirs {
                let same = ours.split('\n').zip(theirs.split('\n')).take_while(|(a, b)| a == b).count();
                return Some(line + same as u32);
            }
            line += lines(theirs);
            line += other.blocks.get(index).map_or(0, |block| lines(&block.content));
        }
        (self.frame.len() != other.frame.len()).then_some(line)
    }
}

fn lines(text: &str) -> u32 {
    text.matches('\n').count() as u32
}
