"""What CI and people ask of policies: test and lint; a serving process never imports this room."""
