//! Finds the known word nearest to a misspelt one.

/// The known word that was most likely meant by `word`: it differs by few letters, or is the same after a `.` or `-`.
pub fn nearest<S: AsRef<str>>(word: &str, known: impl IntoIterator<Item = S>) -> Option<S> {
    let word = word.to_ascii_lowercase();
    let tail = word.trim_start_matches('-');
    let most = match word.trim_start_matches('-').len() {
        0..=4 => 1,
        5..=8 => 2,
        _ => 3,
    };
    let score = |known: &str| {
        let same_tail = known.strip_suffix(tail).is_some_and(|head| head.ends_with(['.', '-']));
        if same_tail && !tail.is_empty() { 1 } else { distance(&word, known, most) }
    };
    known
        .into_iter()
        .map(|known| (score(known.as_ref()), known))
        .filter(|(score, _)| *score <= most)
        .min_by_key(|(score, _)| *score)
        .map(|(_, known)| known)
}

/// Text for a message: at most 60 characters, control characters made visible.
pub fn clip(text: &str) -> String {
    let mut clipped: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        clipped += "...";
    }
    clipped
}

/// The least number of letters to insert, remove, replace or swap with a neighbour to turn one word into the other. Any
/// result above `most` means "more than `most`".
fn distance(one: &str, other: &str, most: usize) -> usize {
    let (a, b) = (one.as_bytes(), other.as_bytes());
    if a.len().abs_diff(b.len()) > most {
        return most + 1;
    }
    // rows[i][j] is the distance between the first i letters of one and the first j of the other.
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_near() {
        let words = ["url", "poll_every", "timeout", "config.url"];
        assert_eq!(nearest("urI", words), Some("url"));
        assert_eq!(nearest("Poll_Every", words), Some("poll_every"));
        assert_eq!(nearest("timout", words), Some("timeout"));
        assert_eq!(nearest("ulr", words), Some("url"));
        assert_eq!(nearest("xyz", words), None);
        assert_eq!(nearest("", words), None);
        assert_eq!(nearest(&"a".repeat(1 << 20), words), None);
    }
}
