"""The paper's figures and tables for data and a model of one's own: the steps, what the paper says, and the page."""
