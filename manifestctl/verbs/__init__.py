"""What users do. Verbs take stores and return results; they never import a concrete store."""
