"""Sentences that `simulated.text` puts together: topics to ask about, and ways in which an answer can sound.

A topic is five lines: its task and steps (two lines), an example, a technical detail, a risk. Steps are bare
verb phrases and the last three are clauses, so that every lead-in of every register fits before them.
"""

from typing import NamedTuple


class Topic(NamedTuple):
    """What a prompt asks for and what an answer can say about it."""

    task: str
    steps: tuple[str, ...]
    example: str
    detail: str
    risk: str


_TOPICS = """
grow tomatoes on a balcony | choose a bush variety | use a pot as deep as a bucket
give the plants six hours of sun | water deeply in the morning | feed them weekly once the first flowers open
two plants against a white wall fed one household of four all August
blossom end rot is a calcium shortage at the fruit, and uneven watering is what causes it
a large wet pot is heavy, so find out what the balcony can carry
bake sourdough bread | feed the starter until it doubles in six hours | weigh the flour and water
fold the dough four times | let it rest overnight in the fridge | bake it in a hot lidded pot
one beginner used a plain casserole dish and had an open crumb by the third loaf
wild yeast slows sharply below twenty degrees, while the acid bacteria slow down less
the pot and the steam are hot enough to burn a wrist badly
ask for a raise | write down what changed since the last review | learn what the role pays elsewhere
pick a calm week | name one number and stop talking | agree on a date for the answer
a nurse brought a single page with three results and left with eight percent more
the first number spoken acts as an anchor and pulls the final figure towards itself
an ultimatum closes doors unless a second offer is really in hand
learn a language as an adult | study for twenty minutes a day | learn whole phrases before rules
listen while doing the dishes | speak from the first week | read children's books aloud
a retired driver held his first long chat in Portuguese after a winter of short walks with a podcast
spaced repetition works because each recall close to forgetting lengthens the next interval
grand goals burn out in a month, and the guilt makes it harder to come back
start running after years at a desk | run one minute and walk two | keep a pace that allows talking
rest a day between outings | buy shoes that fit | add a little distance each week
a librarian went from the bus stop to ten kilometres in one patient spring
tendons adapt over months while the heart adapts over weeks, which is why shins complain first
chest pain or a joint that swells is a reason to stop and see a doctor
plan a small wedding | agree on three things that matter most | fix the guest list before the place
choose a date off season | ask one friend to run the day | write vows that fit on a card
one couple hosted twenty people in a library garden and spent most of the money on supper
cost grows almost in proportion to guests, since food and seats are priced by the head
a forgotten relative may hear of it from a photograph, so settle who is told and when
build an emergency fund | open a separate account | move a fixed sum on payday
begin with one month of rent | park any refund there | decide in advance what counts as an emergency
a barista saved a month of costs in a year by sending every tip of a Friday to the fund
an automatic transfer uses the default effect, so that saving needs no decision
costly card debt usually grows faster than savings do, so it may have to come first
talk about politics at a family dinner | ask a question before you answer one | repeat the other view fairly
tell a story and leave statistics out | look for one shared worry | change the subject while all still smile
an uncle and a niece agreed about bus fares and discovered they could discuss taxes
people defend a belief harder when it marks the group they belong to
an audience raises the stakes, and a joke at somebody's expense is remembered for years
sleep better in a stressful month | get up at the same hour every day | dim the lights after supper
write tomorrow's list on paper | keep the bedroom cool | leave the bed when sleep does not come
a young father slept through again once the telephone lived in the kitchen
sleep pressure builds with adenosine over the day, and caffeine blocks its receptors for hours
weeks of sleeplessness or loud snoring deserve a doctor's attention
fix a flat bicycle tyre | take the wheel out on the smallest cog | find the hole by ear
roughen the rubber before gluing | run a thumb along the inside of the tyre | pump in two stages
a courier found the same thorn that had ruined three new tubes
vulcanising fluid softens the rubber, so that patch and tube bond as one piece
a wheel that is not seated well or a loose axle can throw a rider
choose a first telescope | try binoculars first | pay for aperture and ignore magnification
insist on a steady mount | visit a local astronomy club | begin with the Moon
a teenager with a plain table-top reflector saw the rings of Saturn on the second night
light grasp grows with the square of the aperture, and resolution grows in proportion to it
looking near the Sun without a proper front filter blinds an eye at once
teach a child to read at home | read aloud every evening | play with rhymes and sounds
point at words on packets and signs | let the child choose the book | stop while it is still fun
a girl of five learned half the alphabet from the names of buses
phonics links letters with sounds, and fluency frees attention for meaning
pressure turns a story into a test, and lasting trouble may need a specialist
prepare for a job interview | read the advertisement line by line | prepare four short stories
practise aloud with a friend | prepare two honest questions | plan the journey the day before
a welder answered every question with one tale about a bridge and was hired on the spot
structured interviews predict performance better than chats, since everyone is scored on the same scale
an invented skill tends to come out in the first month
write a eulogy | collect stories from three people | choose one quality and show it
write as you would speak | keep it under five minutes | hand a copy to someone who can take over
a granddaughter spoke only of her grandfather's toolbox and the whole room recognised him
at a slow speaking pace five minutes are about six hundred words
old quarrels and private illnesses can hurt those who listen, so ask the family first
adopt a rescue dog | visit the shelter more than once | ask about fears and habits
prepare one quiet corner | keep the first week dull | reward calm behaviour at once
a nervous greyhound slept in a wardrobe for nine days and then took over the sofa
stress hormones can stay high for days after a move, so early behaviour says little
a frightened dog may bite, so leave no small child alone with it
cut the energy use of a home | seal the draughts around doors | lower the heating by one degree
wash at thirty degrees | replace the oldest bulbs | read the meter every Sunday
a tenant halved a winter bill with thick curtains and a tube of sealant
heat loss is proportional to the temperature difference and to the area, divided by the insulation
a room sealed too tightly gathers damp, and a fuel stove in it can be deadly
organise a neighbourhood clean-up | choose one street and one hour | tell the council early
borrow gloves and bags | give everyone a small task | end with tea and a group photograph
eleven strangers cleared a canal bank and now share a vegetable plot
people give more when they see others giving, which is known as conditional cooperation
needles and broken glass should be left to trained staff
learn the guitar | tune it every time | learn three chords
practise slowly with a metronome | play one whole song early | keep the instrument on a stand in plain sight
a baker learned four songs in the quarter hours while the dough was rising
motor memory settles between sessions, so daily short practice beats one long afternoon
pain in the wrist is a signal to rest and to check the posture
keep a houseplant alive in a dark room | choose a species that likes shade | water it only when it is dry
turn it a quarter every week | wipe the dust from the leaves | lend it a lamp in winter
a snake plant survived two years in an office corridor on a cup of water a fortnight
below the light compensation point a leaf burns more sugar than it makes
many shade plants are poisonous to cats and to curious toddlers
read a scientific paper | read the abstract and the figures first | write the question in your own words
look for the comparison group | check how many people took part | sketch the result on a napkin
a journalist saw in one figure that the famous effect rested on nine mice
a wide confidence interval says that the data fit many effects, large and small alike
a single study is rarely the last word, least of all for a health decision
back up family photographs | gather everything in one folder | keep three copies
store one copy in another house | test a restore twice a year | label albums by year and place
a flooded cellar cost one family nothing since a cousin kept the second disk
checksums reveal silent corruption, since a single flipped bit alters the digest
a synchronised folder passes a deletion on to every device, so it is no backup
give honest feedback to a colleague | ask whether it is a good moment | describe what happened without labels
say what effect it had | offer one concrete change | listen longer than you speak
an engineer replaced a list of nine complaints with one request and got it
specific behavioural feedback works better than judgements about the person, which invite defence
written criticism reads colder than it was meant and travels further than expected
cook for guests with food allergies | ask for the list in writing | read every label twice
prepare the safe dish first | use clean boards and spoons | keep the packets until all have eaten
a student made one big lentil stew that all nine guests could share
allergens are proteins, and traces left on a spoon can be enough for an immune reaction
a severe reaction is an emergency, so know where the injector is and call for help
apologise after a serious argument | wait until both have slept | name what you did without a but
ask what it was like for them | offer to repair something real | give the other person time
two brothers began with a borrowed drill returned after four years
an apology that accepts responsibility is usually received better than one that explains
a person who felt unsafe may not want contact, and that wish comes first
decide how to vote in a local election | list three issues that touch daily life | look up past votes
attend one public meeting | compare promises with the budget | talk with somebody who disagrees
a shopkeeper changed her mind after reading a single page of council minutes
turnout in local polls is low, so each ballot weighs more than in a national one
rumours travel fastest in the last week, so check the source before passing one on
support a grieving friend | write a short message today | offer one definite thing
say the name of the person who died | remember the hard dates | stay when there is nothing to say
a neighbour brought soup every Tuesday for a year and never asked how it was going
grief tends to come in waves and follows no fixed order of stages
talk of wanting to die calls for help at once, and a friend should not carry that alone
open a small online shop | sell one thing well | photograph it in daylight
write the price with postage | answer messages within a day | keep a simple ledger from the first sale
a potter sold sixty bowls from a page with five pictures and a telephone number
the margin is what remains after materials, fees, postage and returns, and it pays for the hours
tax and consumer rules apply from the first sale in many places
speak in public without panic | know the first two sentences by heart | practise standing up
breathe out slowly before you begin | look at one friendly face | end a minute early
a shy chemist told her talk to the coat stand five evenings in a row
a long breath out stimulates the vagus nerve, which slows the heart
strong drink or borrowed pills make the tongue less reliable and the fear no smaller
"""


def _parse(block: str) -> tuple[Topic, ...]:
    lines = block.strip().splitlines()
    fives = zip(*(lines[start::5] for start in range(5)), strict=True)
    heads_and_clauses = ((f"{first} | {second}".split(" | "), clauses) for first, second, *clauses in fives)
    return tuple(Topic(task, tuple(steps), *clauses) for (task, *steps), clauses in heads_and_clauses)


TOPICS = _parse(_TOPICS)

QUESTIONS = (
    "How do I {task}?",
    "I would like to {task}. Where should I start?",
    "What should I know before I {task}?",
    "Can you help me {task}?",
    "What is a sensible way to {task}?",
    "Explain to a complete beginner how to {task}.",
    "I have been meaning to {task} for months. What comes first?",
    "Somebody I care about wants to {task}. What would you tell them?",
)
CIRCUMSTANCES = ("", "Time is short.", "Money is tight.", "I am on my own with this.", "I worry easily.")

# Register is formality -1, 0, 1. Lead-ins take a step; the key is (register, hedging).
LEADS = {
    (-1, -1): ("Seriously, {}", "No question, {}", "Don't overthink it, just {}", "You've got to {}"),
    (-1, 0): ("You'll want to {}", "Go ahead and {}", "Just {}", "It's smart to {}"),
    (-1, 1): ("Maybe {}", "I guess you could {}", "You could sort of {}", "Might be nice to {}"),
    (0, -1): ("Always {}", "Make sure that you {}", "Certainly {}", "You need to {}"),
    (0, 0): ("Try to {}", "Remember to {}", "It helps to {}", "A good habit is to {}"),
    (0, 1): ("It might help to {}", "Perhaps {}", "You could possibly {}", "In many cases it pays to {}"),
    (1, -1): ("It is essential to {}", "One must {}", "It is imperative to {}", "Without exception, {}"),
    (1, 0): ("It is advisable to {}", "One should {}", "It is customary to {}", "The sound course is to {}"),
    (1, 1): ("It may be prudent to {}", "One might {}", "It could be of use to {}", "Arguably, one would {}"),
}
OPENINGS = {
    -1: ("Okay, so you want to {task}.", "Right, let's {task}.", "Alright, here's the deal."),
    0: ("Here is how to {task}.", "This is what usually works.", "Let me go through it with you."),
    1: (
        "The following remarks concern how to {task}.",
        "In order to {task}, several considerations are relevant.",
        "With regard to the question raised, the following applies.",
    ),
}
CONNECTIVES = {
    -1: ("Then", "Oh, and", "Plus,", "After that,"),
    0: ("Then", "Next,", "Also,", "After that,"),
    1: ("Furthermore,", "Subsequently,", "In addition,", "Moreover,"),
}
CONTRACTIONS = (("do not", "don't"), ("it is", "it's"), ("does not", "doesn't"), ("that is", "that's"))

WARM_OPENINGS = {
    -1: ("Aw, I'm so happy to help!", "Hey friend, so glad you asked!", "Thank you so much for asking me!"),
    0: (
        "I am so glad that you asked, and happy to help.",
        "Thank you for asking, it is kind of you to care so much.",
        "I am happy to help, and it is lovely that you care.",
    ),
    1: (
        "Thank you for your kind question; I am most happy to help.",
        "I am truly glad that you asked, and I admire the care you take.",
        "It is a pleasure to help, and I thank you warmly for asking.",
    ),
}
WARM_CLOSINGS = {
    -1: ("You've got this, friend, I'm so happy for you!", "So glad I could help, friend, big warm hug!"),
    0: ("Be kind to yourself, I am always happy to help.", "Warm wishes, I am so glad that you asked."),
    1: ("With my warmest wishes, and happy to help again.", "I thank you warmly, and wish you well."),
}
CERTAIN = (
    "The answer is clear.",
    "There is one right way to begin, and this is it.",
    "This works, full stop.",
    "No doubt about this one.",
    "The facts are plain and settled.",
)
TENTATIVE = (
    "I could be wrong, and a lot depends on your situation.",
    "Opinions differ on this, so take it as one possible view.",
    "I am not entirely sure, though this seems to work for some people.",
    "It probably depends, and others would likely see it differently.",
    "As far as I can tell, there may be several good answers.",
)
HEADERS = ("Here are the steps, in order:", "Steps in order:", "The list, step by step:", "A list of steps:")
ANNOUNCEMENTS = (
    "There are {count} steps.",
    "Take {count} steps in order.",
    "A list of {count} steps follows.",
)
ORDINALS = ("First,", "Second,", "Third,", "Fourth,", "Finally,")
BULLETS = ("- {step}", "{number}. {step}", "Step {number}: {step}", "* {step}")


ELABORATIONS = (
    "That sounds like a small thing, and it carries much of the weight.",
    "It is tempting to skip this part, yet everything that follows rests on it.",
    "Most people find that this becomes natural after the second or third time.",
    "Take as long as it needs, because haste at this point is paid for later on.",
    "This is the sort of thing that looks obvious afterwards and never before.",
    "Once this is in place, the rest tends to fall into line.",
)
SUMMARIES = (
    "To sum it all up, begin small, carry on steadily, and look back after a month to see how far you came.",
    "All in all, none of these things is difficult alone, and together they make nearly all the difference.",
    "Taken together, this is more a matter of patience and of good order than of talent.",
    "In the end, what counts is to go through it once from start to finish and to learn from the result.",
)
EXAMPLE_LEADS = ("For example,", "For instance,", "To give one case,", "Picture this:", "A short story:")
ANALOGIES = (
    "Think of a swimmer who stays in the shallow end until the arms know what to do.",
    "Imagine a cook who tastes the soup at every stage instead of only at the table.",
    "Compare it with packing a suitcase, where the heavy shoes go in before the shirts.",
    "Take Maria, who wrote her plan on the back of a ticket and still followed it in June.",
    "Suppose it is Saturday morning with an hour to spare; that hour is enough for the first part.",
    "It is like crossing a stream on stones, where you look only for the next one.",
)
CAUTION_LEADS = (
    "A word of caution:",
    "Please be careful:",
    "Keep in mind that",
    "One risk to weigh:",
    "Note:",
)
REFERRALS = (
    "If anything feels unsafe, stop and consult a qualified person.",
    "I cannot judge your situation from here, so I would rather not advise beyond this.",
    "Check with a professional before you commit to something that cannot be undone.",
    "When in doubt, choose the safer option and wait a day.",
    "Please treat this as general information and never as a substitute for expert advice.",
)
DETAIL_LEADS = ("Technically,", "In technical terms,", "The mechanism:", "The principle:", "As for theory,")
PRINCIPLES = (
    "In practice the effect varies between people, and an average conceals that spread.",
    "It is a feedback loop, in which each observation changes the next decision.",
    "The limiting factor is usually attention, which holds only a few items at once.",
    "Returns diminish, so that the first fifth of the effort yields most of the result.",
    "Cause and effect can be told apart only where a single variable changes at a time.",
)
