"""Wordings of questions and labels that training examples are put in; written for this project."""

# Wordings that a label can stand in, by task.
LABEL_TEMPLATES = {
    "topic": [
        "This text is about {}.", "The topic is {}.", "{} news", "It is about {}", "This example is {}.",
        "The text deals with {}", "The subject of this text is {}.", "The statement is about {}", "about {}",
        "This document is related to {}.", "The question is about {}", "Category: {}",
    ],
    "intent": [
        "The user wants: {}.", "The intent is {}.", "This message is about {}.", "This example is {}.",
        "The utterance is about {}", "The customer asks about {}", "The request concerns {}.", "to {}",
        "The person asks for {}", "This command is for {}.",
    ],
    "emotion": [
        "This text expresses {}.", "The author feels {}.", "The emotion is {}.", "This example is {}.",
        "The person who wrote this feels {}", "The text is full of {}", "The mood is {}.", "a feeling of {}",
        "The main emotion of the author is {}",
    ],
    "toxicity": ["This text is: {}.", "The message: {}", "The comment: {}"],
    "other": ["It is: {}", "The answer is {}."],
}  # fmt: skip
# How a label is affirmed and denied.
OPPOSITES = {
    "topic": [
        ("This text is about {}.", "This text is not about {}."),
        ("It is about {}", "It is not about {}"),
        ("related to {}", "not related to {}"),
        ("The text deals with {}", "The text deals with something other than {}"),
    ],
    "intent": [
        ("The intent is {}.", "The intent is not {}."),
        ("The message is about {}", "The message is not about {}"),
        ("The user asks for {}", "The user asks for something else"),
    ],
    "emotion": [
        ("This text expresses {}.", "This text does not express {}."),
        ("The author feels {}", "The author does not feel {}"),
        ("{}", "no {}"),
    ],
}
QUESTIONS = {
    "topic": ["What is this text about?", "Which topic fits the text?", "What is the subject?", "Classify the text."],
    "intent": ["What does the user want?", "Which intent does the message have?", "What is the request about?"],
    "emotion": ["Which emotion does the text express?", "How does the author feel?", "What is the emotion?"],
    "sentiment": ["What is the sentiment?", "How does the author judge it?", "Is this positive or negative?"],
    "toxicity": ["What kind of message is this?", "How would a moderator label this text?"],
}
YES_NO = ("yes", "no")
YES_NO_QUESTIONS = {
    "topic": ["Is this text about {}?", "Is the topic {}?"],
    "intent": ["Does the user want this: {}?", "Is the intent {}?"],
    "emotion": ["Does the text express {}?", "Does the author feel {}?"],
    "other": ["Is this right: {}?"],
}
# (positive, negative, neutral)
SENTIMENT_WORDS = [
    ("positive", "negative", "neutral"),
    ("good", "bad", "neither good nor bad"),
    ("it's great", "it's terrible", "it's okay"),
    ("a positive opinion", "a negative opinion", "no clear opinion"),
    ("the author is happy", "the author is unhappy", "the author is indifferent"),
    ("The sentiment is positive.", "The sentiment is negative.", "The sentiment is neutral."),
    ("This text is positive.", "This text is negative.", "This text is neutral."),
    ("the author likes it", "the author dislikes it", "the author has no opinion"),
    ("I love it", "I hate it", "I do not care"),
    ("praise", "criticism", "a plain statement"),
    ("wonderful", "awful", "average"),
    ("satisfied", "dissatisfied", "undecided"),
    ("recommended", "not recommended", "no recommendation"),
    ("thumbs up", "thumbs down", "no vote"),
    ("The author is pleased.", "The author is disappointed.", "The author is neither pleased nor disappointed."),
    ("This example expresses a favourable view", "This example expresses an unfavourable view", "no view"),
    ("The opinion in this review is positive", "The opinion in this review is negative", "it has no opinion"),
    ("an enthusiastic review", "a scathing review", "a lukewarm review"),
    ("worth it", "a waste of time", "acceptable"),
    ("good news", "bad news", "neither good nor bad news"),
    ("excellent", "poor", "mediocre"),
    ("a happy customer", "an angry customer", "a customer without an opinion"),
    ("The sentiment in this text is favorable.", "The sentiment in this text is unfavorable.", "It is balanced."),
    ("optimistic", "pessimistic", "matter-of-fact"),
]
# What some sources call it; never drawn.
MORE_SENTIMENT_WORDS = [("the economy is doing well", "the economy is doing badly", "")]
QUOTE = '"'  # what a question about a part of the text puts that part in
# (toxic, harmless)
TOXIC_WORDS = {
    "toxic": [
        ("toxic", "not toxic"),
        ("This text is toxic.", "This text is not toxic."),
        ("offensive", "inoffensive"),
        ("The comment is offensive", "The comment is not offensive"),
        ("rude and abusive", "polite or neutral"),
        ("an insult", "no insult"),
        ("This message breaks the rules of the forum", "This message is fine"),
        ("This example is vulgar or insulting.", "This example is harmless."),
    ],
    "hate": [
        ("hate speech", "no hate speech"),
        ("This text is hateful.", "This text is not hateful."),
        ("The author attacks a group of people", "The author attacks nobody"),
        ("hateful towards a group", "harmless"),
        ("This comment is discriminating", "This comment is not discriminating"),
    ],
}
TOXIC_OPTIONS = {
    "hateful": "hate",
    "not hateful": "none",
    "this sentence expresses hate": "hate",
    "this sentence does not express hate": "none",
    "this tweet is hateful": "hate",
    "this tweet is not hateful": "none",
    "this is hate speech": "hate",
    "this is offensive language": "offensive",
    "this is neither hateful nor offensive": "none",
}
EMOTION_SENTIMENT = {
    **dict.fromkeys(("admiration", "amusement", "approval", "caring", "excitement", "gratitude"), 0),
    **dict.fromkeys(("joy", "love", "optimism", "pride", "relief"), 0),
    **dict.fromkeys(("anger", "annoyance", "disappointment", "disapproval", "disgust", "embarrassment"), 1),
    **dict.fromkeys(("fear", "grief", "nervousness", "remorse", "sadness"), 1),
    "neutral": 2,
}
# (entailment, contradiction, neutral), and what "not entailed" is called when there are two options
NLI_WORDS = [
    ("entailment", "contradiction", "neutral", "not entailment"),
    ("yes", "no", "maybe", "no"),
    ("true", "false", "unknown", "not known to be true"),
    ("it follows", "it is contradicted", "it cannot be told", "it does not follow"),
    ("the second text follows from the first", "the texts contradict each other", "neither", "it does not follow"),
    ("supported", "refuted", "not enough information", "not supported"),
    ("correct", "incorrect", "inconclusive", "not shown to be correct"),
    ("definitely true", "definitely false", "might be true", "not certainly true"),
    ("always", "never", "sometimes", "not always"),
    ("the first implies the second", "the first rules the second out", "the first leaves it open", "it is not implied"),
    ("agrees", "disagrees", "unrelated or undecided", "does not agree"),
    ("confirmed", "denied", "not mentioned", "not confirmed"),
    ("guaranteed", "impossible", "possible", "not guaranteed"),
    ("The statement is true.", "The statement is false.", "It is unclear.", "The statement need not be true."),
    ("certain", "excluded", "undetermined", "not certain"),
]
NLI_QUESTIONS = [
    "",
    "Does the second text follow from the first?",
    "What is the relation between the two texts?",
    "Given the first text, is the second one true?",
    "What can be said of the second text if the first is true?",
    "Is the statement true, false or undecided?",
    "Premise and hypothesis: how do they relate?",
    "Does the text support the claim?",
]
HYPOTHESIS_QUESTIONS = ["Is this true?", "Can we infer this?", "", "True or false?", "Does this follow?"]
FIND_ENTAILED_QUESTIONS = ["", "Which statement follows from the text?", "What can we infer from the text?"]
INFER, NOT_INFER, HARD_TO_INFER = (
    "we can infer that ",
    "we can not infer that ",
    "it is difficult for us to infer that ",
)
# Of any task, and of one label whether it fits.
GENERAL_QUESTIONS = [
    "Which option fits the text best?",
    "Classify the text.",
    "What describes this text?",
    "Which label is right?",
    "Choose the best category.",
    "Which of these is it?",
    "What is this?",
    "Which class does the example belong to?",
    "Pick the right answer.",
]
FITS_QUESTIONS = ["Is it this: {}?", "Does this fit the text: {}?", "{}?", "Is the right answer: {}?"]
# How the labels of written tasks are stated, by kind, and those of any kind.
STATED_AS = {
    "topic": ["This text is about {}.", "The topic is {}.", "It is about {}", "about {}", "Category: {}"],
    "intent": ["The user wants: {}.", "The intent is {}.", "This message is about {}.", "The request concerns {}."],
    "emotion": ["This text expresses {}.", "The author feels {}.", "The emotion is {}.", "a feeling of {}"],
    "other": ["This example is {}.", "It is: {}", "The answer is {}.", "The label is {}"],
}
COLON = ": "
UNLABELLED_QUESTIONS = [
    "",
    "",
    "What is this text about?",
    "Which option fits the text best?",
    "What describes the text?",
]
