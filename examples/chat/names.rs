//! Which names may users and rooms have, in any script?

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::props::{
    DefaultIgnorableCodePoint, EmojiModifier, ExtendedPictographic, GeneralCategory,
    GeneralCategoryGroup, RegionalIndicator,
};
use icu_properties::{CodePointMapData, CodePointSetData};

/// The maximum length in code points.
pub(crate) const MAX_NAME: usize = 24;

/// Letters of Indic scripts and emoji are joined by these. They are invisible.
const JOINERS: [char; 2] = ['\u{200c}', '\u{200d}'];

/// Selects between text and emoji.
const SELECTORS: [char; 2] = ['\u{fe0e}', '\u{fe0f}'];

/// The name of a user, without spaces around it and in NFC. `None` if it is no name.
pub(crate) fn user_name(text: &str) -> Option<String> {
    let name = normalize(text.trim());
    is_valid(&name, |char| " .'-_".contains(char)).then_some(name)
}

/// The name of a room, in NFC. `None` if it is no name. Capital letters are not allowed.
pub(crate) fn room_name(text: &str) -> Option<String> {
    let name = normalize(text);
    let is_lower = name.chars().all(|char| !char.is_uppercase());
    (is_lower && is_valid(&name, |char| char == '-')).then_some(name)
}

/// What names have to differ in: not only in case, or in invisible characters.
pub(crate) fn id(name: &str) -> String {
    let name = name.trim().to_lowercase();
    normalize(&name.replace(JOINERS, "").replace(SELECTORS, ""))
}

fn normalize(text: &str) -> String {
    ComposingNormalizerBorrowed::new_nfc().normalize(text).into_owned()
}

fn is_valid(name: &str, is_separator: fn(char) -> bool) -> bool {
    let is_allowed = |char| is_separator(char) || is_visible(char) || joins(char);
    let mut ends = name.chars().next().into_iter().chain(name.chars().next_back());
    (1..=MAX_NAME).contains(&name.chars().count())
        && name.chars().all(is_allowed)
        && name.chars().any(|char| is_visible(char) && !is_mark(char))
        // A mark changes the letter before it, and a joiner is between two.
        && name.chars().next().is_some_and(|first| !is_mark(first))
        && ends.all(|char| !JOINERS.contains(&char))
}

/// Letters with their marks, digits, and emoji.
fn is_visible(char: char) -> bool {
    let is_letter = char.is_alphanumeric() || is_mark(char);
    let is_emoji = CodePointSetData::new::<ExtendedPictographic>().contains(char)
        || CodePointSetData::new::<EmojiModifier>().contains(char)
        || CodePointSetData::new::<RegionalIndicator>().contains(char);
    // Some letters show nothing.
    let is_invisible = CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(char);
    (is_letter || is_emoji) && !is_invisible
}

fn is_mark(char: char) -> bool {
    let category = CodePointMapData::<GeneralCategory>::new().get(char);
    GeneralCategoryGroup::Mark.contains(category)
}

fn joins(char: char) -> bool {
    JOINERS.contains(&char) || SELECTORS.contains(&char)
}
