"""From a target to the rules that hold: `match` indexed, guards lifted, conditions as one code."""
