"""The meaning of a report's columns: each definition is the tooltip of its column, and a line of the glossary."""

SHARE = "Share that the reference puts in the target class"
DEFINITIONS = {
    "found": "Share of the searches that found a counterfactual on the base.",
    "agreement": "Share of the counterfactuals tried for which base and reference put the factual in the same class.",
    "rate": "Transferability rate: the share of the counterfactuals tried that the reference puts in the target "
    "class. Every pair of models weighs the same. In parentheses, the 95 % interval.",
    "conditional": "The rate among factuals that both models put in the same class. If they disagree, a counterfactual "
    "can transfer without having changed anything for the reference.",
    "end-to-end": "found × rate: failed searches count against it.",
    "− seed": "The rate minus the rate of the same counterfactuals on references that differ from the bases only in "
    "their seed: a new architecture is also a new seed.",
    "than seed alone": "The verdict on − seed: lower, higher, alike, or undecided; then also the models that "
    "would decide. p is adjusted for the jobs of the table (Holm).",
    "− first": "The rate minus the rate of the first job in this table.",
    "than the first": "The verdict on − first: lower, higher, alike, or undecided. p is adjusted for the jobs of the "
    "table (Holm).",
    "− random": "The rate minus the control in random directions.",
    "random": f"Control. {SHARE}, for points as far from the factual as the counterfactual, in random directions.",
    "nearest": f"Control. {SHARE}, for the nearest training rows that the base puts in the target class.",
    "prior": "Control. Share expected from a coin that shows each class as often as the reference predicts it.",
    "to class": "The rate of counterfactuals with this target class.",
    "distance L2": "Mean Euclidean distance between factual and counterfactual, each feature scaled to [0, 1].",
    "found before": "The found share before points were projected onto the constraint: integers may have fractions, "
    "and a row may lie between categories.",
    "L2 before": "The distance before points were projected onto the constraint.",
    "rate before": "The rate before points were projected onto the constraint.",
    "L2 per pixel": "For images, in units of 1/255: the root of the mean squared change of a pixel's channel.",
    "L∞": "For images, in units of 1/255: the largest change of a pixel's channel.",
    "found as bytes": "For images: the share of found counterfactuals that the base still puts in the target class "
    "after pixels are rounded to whole grey levels, as in an image file.",
    "base accuracy": "Share of the test split that the bases put in the right class.",
    "reference accuracy": "Share of the test split that the references put in the right class.",
    "disagreement": "Share of the test split that base and reference put in different classes.",
    "|Δp|": "Mean difference between the probabilities of base and reference on the test split.",
    "accepted by all": "Share of found counterfactuals that every reference puts in the target class. It falls "
    "as references are added.",
    "least rate": "The lowest of a base's rates, averaged over bases. It falls as references are added.",
    "lost to noise": "Each counterfactual is carried out several times with Gaussian noise (execution.sigma): the "
    "share of these points that references do not put in the target class. Without noise it is 1 − rate.",
    "lost on the base": "The share of the noisy points that the base itself does not put in the target class. Without "
    "noise it is 0.",
    "5 nearest: L2": "Mean distance from a counterfactual to the 5 nearest training rows that are labelled with its "
    "target class.",
    "5 nearest: of the class": "Share of the target's label among the 5 nearest training rows of any label.",
    "LOF": "Local outlier factor among the training rows that are labelled with the target class: about 1 if a "
    "counterfactual lies in a region as dense as its neighbours', larger for outliers.",
    "pairs": "Pairs of a base and a reference.",
    "splits": "Splits of the rows into training and test rows, each with its own models.",
    "p": "Probability of a slope at least as steep as this one if there were no trend.",
    "p (Holm)": "p, adjusted for the number of trends in this report.",
    "p (bend)": "p of a parabola beyond the line.",
    "p (permutation)": "p over references, given the bases. A dash if each job has its own bases, because then "
    "nothing may be exchanged.",
    "R²": "Share of the variance of the points that the line explains.",
    "Spearman's ρ": "Rank correlation of knob and rate, given for five points or more.",
}


def definition(head: str) -> str:
    """Return the meaning of a column; "" without a definition, as for a setting."""
    return DEFINITIONS["to class"] if head.startswith("to class ") else DEFINITIONS.get(head, "")
