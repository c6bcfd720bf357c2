"""The paper's four conventional methods, Frangi's vesselness beside them, and the line that rescales each."""
