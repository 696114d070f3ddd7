"""An English text of this project; the built-in tokenizers were trained on it."""

TEXT = """\
The morning train leaves the station at seven, and the river is still under a thin white fog. A
woman with a brown bag sits by the window and reads a book about the ocean. She has read it three
times before, but each time the water seems deeper and the waves seem slower. Outside, the leaves of
the trees are turning red and yellow, because it is autumn again and the days are getting shorter.

Once there was a small town between the mountains and the sea. The people of the town were bakers,
farmers, painters and sailors, and all of them believed that the best bread in the world came from
the old stone oven behind the market. "Take flour, water, salt and time," the baker would say, "and
do not hurry. Time is the one thing that you cannot add later." In winter the children waited in
front of the door, where the air was warm, and asked for a story.

He told them about a fox that learned to count. The quick little fox counted the stars, one by one,
until it reached a number that had no name. Then it jumped over the lazy dog, ran through the forest
and asked the moon: "How many are there?" The moon answered: "There are as many as you have time to
look at." The fox thought about this for a long while. It was not the answer it had wanted, but it
was a good answer, and it went home happy.

Science begins with a question and a careful measurement. If you measure the same thing twice and
get the same number, you may trust the number a little more. If you get two different numbers, you
have learned something: either the world has changed, or your instrument has. A good experiment can
fail, and everyone can see how it would fail. That is the difference between a test and a promise.
Write down what you did, which tools you used, when you did it and what you expected to find.

Computers are fast, but they are not magic. A machine adds numbers in some order, and when the order
changes, the last digit of the answer may change too. Most of the time nobody notices. Sometimes a
very small difference grows, step after step, until the whole sentence means something else. This is
why we repeat the work, compare the results word by word, and keep the ones that we agreed on.

Dear friend, today I walked along the beach and thought of your letter. You ask me about the meaning
of life, as if I had found it somewhere between the rocks. I can only tell you what I know: be kind,
drink enough water, sleep when you are tired, and call your mother. The rest is music. Yesterday the
wind was so strong that the birds were flying backwards, and the old man next to me laughed out loud
and said that he had been feeling like that for years.

Far away in another galaxy, on a planet with two suns and five moons, a young engineer looked at a
broken engine. There were three reasons to repair it: the ship was the only one they had, the next
visitor would not arrive for a hundred years, and she was bored. She opened the manual, page 42, and
found a picture of a cat. "Wonderful," she said. "Somebody has been here before us."

How to make a garden: choose a place with light. Remove the stones. Give the earth something to eat,
such as old leaves and kitchen scraps. Plant the seeds in rows, not too deep and not too close. Give
them water in the evening. Wait. When the first green points come out of the ground, do not touch
them; they know what they are doing. In summer you will have beans, tomatoes, onions and flowers.

What is the capital of a country, and why is it there? Usually because of a river, a road or a king.
People build a bridge, then a market near the bridge, then houses near the market, and after some
hundred years there is a city with schools, a theatre, a hospital, a football team and a newspaper.
The government comes last and says that it was the plan from the beginning.

def area(width, height):
    return width * height

for name in names:
    print(name, len(name))

if value is None or value == 0: value = 100 + 250 - 1999
{"name": "example", "items": [1, 2, 3], "done": true}

1. The first rule is to read the question. 2. The second rule is to read it again. 3. The third
rule is that there are always more rules, but they don't matter as much as the first two. It's late,
and we've talked enough; I'll see you tomorrow. They're waiting for us at the other side of the
street.

The teacher asked the students to explain, in their own words, how a language model writes. "It
looks at the text," one said, "and gives every possible next word a score. Then it rolls a dice,
where the better words have the bigger sides." "And if you roll the same dice in the same way?"
"Then you get the same sentence, every time." "Always?" The student smiled. "That is what we are
going to check."
"""
