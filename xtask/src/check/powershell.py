"""Prints where a PowerShell script is not as the grammar has it. Ends with 1 if it is anywhere."""
import sys

import tree_sitter
import tree_sitter_powershell

parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))
wrong = 0
for path in sys.argv[1:]:
    with open(path, "rb") as script:
        text = script.read()
    nodes = [parser.parse(text).root_node]
    while nodes:
        node = nodes.pop()
        nodes += node.children
        if node.is_error or node.is_missing:
            row, column = node.start_point
            print(f"{path}:{row + 1}:{column + 1}: not understood: {text[node.start_byte:node.end_byte][:60]!r}")
            wrong += 1
sys.exit(1 if wrong else 0)
