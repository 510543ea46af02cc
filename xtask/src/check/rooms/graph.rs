//! Circles in a directed graph.

use std::collections::{BTreeSet, VecDeque};

/// A graph of `count` nodes; the arrows of each in order.
#[derive(Debug, Clone)]
pub struct Graph {
    arrows: Vec<BTreeSet<usize>>,
}

impl Graph {
    pub fn new(count: usize, arrows: impl IntoIterator<Item = (usize, usize)>) -> Graph {
        let mut graph = Graph { arrows: vec![BTreeSet::new(); count] };
        for (from, to) in arrows {
            graph.arrows[from].insert(to);
        }
        graph
    }

    pub fn arrows(&self) -> impl Iterator<Item = (usize, usize)> {
        self.arrows.iter().enumerate().flat_map(|(from, arrows)| arrows.iter().map(move |&to| (from, to)))
    }

    /// The same graph without one arrow.
    pub fn without(&self, from: usize, to: usize) -> Graph {
        let mut graph = self.clone();
        graph.arrows[from].remove(&to);
        graph
    }

    /// The sets of two nodes or more in which each reaches each other (strongly connected components), largest first.
    pub fn circles(&self) -> Vec<Vec<usize>> {
        // Kosaraju's algorithm: the order in which a depth-first search leaves the nodes, then a search backwards.
        let count = self.arrows.len();
        let mut left = Vec::with_capacity(count);
        let mut seen = vec![false; count];
        for start in 0..count {
            search(start, &self.arrows, &mut seen, &mut left);
        }
        let mut backwards = vec![BTreeSet::new(); count];
        for (from, arrows) in self.arrows.iter().enumerate() {
            for &to in arrows {
                backwards[to].insert(from);
            }
        }
        let mut seen = vec![false; count];
        let mut circles = Vec::new();
        for &start in left.iter().rev() {
            let mut circle = Vec::new();
            search(start, &backwards, &mut seen, &mut circle);
            if circle.len() > 1 {
                circle.sort_unstable();
                circles.push(circle);
            }
        }
        circles.sort_by_key(|circle| std::cmp::Reverse(circle.len()));
        circles
    }

    /// The number of nodes in the largest circle; 0 without one.
    pub fn largest(&self) -> usize {
        self.circles().first().map_or(0, Vec::len)
    }

    /// A shortest cycle of three nodes or more among `nodes`.
    pub fn shortest_cycle(&self, nodes: &[usize]) -> Option<Vec<usize>> {
        let mut best: Option<Vec<usize>> = None;
        for &from in nodes {
            for &to in self.arrows[from].iter().filter(|to| nodes.contains(to)) {
                // Back to `from`, but not by the arrow of a mere pair.
                if let Some(mut way) = self.without(to, from).way(to, from)
                    && best.as_ref().is_none_or(|best| way.len() < best.len())
                {
                    way.rotate_right(1);
                    best = Some(way);
                }
            }
        }
        best
    }

    /// The nodes of a shortest way, both ends included.
    fn way(&self, from: usize, to: usize) -> Option<Vec<usize>> {
        let mut before = vec![None; self.arrows.len()];
        let mut queue = VecDeque::from([from]);
        while let Some(node) = queue.pop_front() {
            if node == to {
                let mut way = vec![to];
                while let Some(&last) = way.last()
                    && last != from
                {
                    way.push(before[last]?);
                }
                way.reverse();
                return Some(way);
            }
            for &next in &self.arrows[node] {
                if next != from && before[next].is_none() {
                    before[next] = Some(node);
                    queue.push_back(next);
                }
            }
        }
        None
    }
}

/// Adds all that can be reached from `start` and was not seen, each node after those behind it.
fn search(start: usize, arrows: &[BTreeSet<usize>], seen: &mut [bool], left: &mut Vec<usize>) {
    if std::mem::replace(&mut seen[start], true) {
        return;
    }
    // A stack of its own: a chain of files may be longer than the stack of a thread allows.
    let mut stack = vec![(start, arrows[start].iter())];
    while let Some((node, rest)) = stack.last_mut() {
        match rest.next() {
            Some(&next) => {
                if !std::mem::replace(&mut seen[next], true) {
                    stack.push((next, arrows[next].iter()));
                }
            }
            None => {
                left.push(*node);
                stack.pop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_found_largest_first() {
        let graph = Graph::new(7, [(0, 1), (1, 0), (1, 2), (2, 3), (3, 4), (4, 2), (5, 6)]);
        assert_eq!(graph.circles(), [vec![2, 3, 4], vec![0, 1]]);
        assert_eq!(graph.largest(), 3);
        assert_eq!(graph.without(4, 2).largest(), 2);
        assert_eq!(Graph::new(2, [(0, 1)]).largest(), 0);
    }

    #[test]
    fn the_shortest_cycle_is_longer_than_a_pair() {
        let graph = Graph::new(5, [(0, 1), (1, 0), (1, 2), (2, 3), (3, 0), (1, 4), (4, 0)]);
        assert_eq!(graph.shortest_cycle(&[0, 1, 2, 3, 4]), Some(vec![0, 1, 4]));
        assert_eq!(Graph::new(2, [(0, 1), (1, 0)]).shortest_cycle(&[0, 1]), None);
    }
}
